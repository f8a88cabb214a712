package restore

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
)

// Line is one line of the option file that is written.
type Line struct {
	Name  string
	Value string
	Bare  bool   // without "="
	Why   string // a comment above it
}

// recorded are the options that the server ran with, in the order in which it read them; the last of a name wins.
func recorded(p *catalog.Point) []Line {
	var out []Line
	for _, file := range p.Process.OptionFiles {
		for _, o := range file.Options {
			out = append(out, Line{Name: canonical(o.Name), Value: o.Value, Bare: o.Bare})
		}
	}
	return append(out, fromArguments(p.Process.Arguments)...)
}

// fromArguments reads a server's command line; options without a long name of their own are only its own switches.
func fromArguments(arguments []string) []Line {
	var out []Line
	for _, a := range arguments {
		long, ok := strings.CutPrefix(a, "--")
		if !ok || strings.HasPrefix(long, "defaults-") || long == "no-defaults" || strings.HasPrefix(long, "print-defaults") {
			continue
		}
		name, value, has := strings.Cut(long, "=")
		out = append(out, Line{Name: canonical(name), Value: value, Bare: !has})
	}
	return out
}

func canonical(name string) string {
	return strings.ReplaceAll(strings.TrimSpace(name), "-", "_")
}

// subject is the option that a line speaks of, without the prefixes that the server understands before any name.
func subject(name string) string {
	name = strings.TrimPrefix(name, "loose_")
	for _, prefix := range []string{"skip_", "disable_", "enable_", "maximum_"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return rest
		}
	}
	return name
}

// about reports whether a line is about one of the names, or of a family ("wsrep_*").
func (l Line) about(names []string) bool {
	plain := strings.TrimPrefix(l.Name, "loose_")
	for _, n := range names {
		if family, ok := strings.CutSuffix(n, "*"); ok {
			if strings.HasPrefix(plain, family) || strings.HasPrefix(subject(l.Name), family) {
				return true
			}
		} else if plain == n || subject(l.Name) == n {
			return true
		}
	}
	return false
}

// dropped options would hurt a copy, or speak of what is moved into the data directory, or are written anew.
var dropped = []string{
	// identity and place: written anew
	"datadir", "socket", "pid_file", "port", "bind_address", "log_error", "tmpdir", "server_id", "user",
	"log_bin", "log_bin_index", "log_bin_basename", "relay_log", "relay_log_index", "relay_log_basename", "log_basename",
	"networking", "slave_start", "replica_start",
	// lies in the data directory now
	"innodb_data_home_dir", "innodb_log_group_home_dir", "innodb_undo_directory", "innodb_doublewrite_dir", "aria_log_dir_path",
	// innodb_directories makes the server open every tablespace below the places of the original
	"innodb_directories", "innodb_temp_tablespaces_dir", "innodb_tmpdir", "slave_load_tmpdir", "replica_load_tmpdir",
	"master_info_file", "relay_log_info_file",
	// acts on others, or listens where the original does
	"init_file", "init_slave", "init_replica", "wsrep*", "group_replication*", "report_host", "report_port", "report_user", "report_password",
	"mysqlx*", "admin_address", "admin_port", "extra_port", "extra_max_connections",
	"daemonize", "chroot", "initialize*", "bootstrap", "console", "upgrade",
}

// logs are files that the server writes; two servers must not write one file.
var logs = []string{"general_log_file", "slow_query_log_file", "log_slow_query_file", "log_isam", "log_tc", "server_audit_file_path", "audit_log_file"}

// inherited are the recorded options as the copy should have them.
func inherited(p *catalog.Point, old []string, datadir string) []Line {
	var out []Line
	for _, l := range recorded(p) {
		switch {
		case l.about(dropped) || l.Name == "":
			continue
		case slices.Contains(logs, l.Name):
			l.Value = filepath.Base(l.Value)
		case l.Name == "innodb_data_file_path":
			l.Value = relativeSystemFiles(l.Value)
		}
		for _, dir := range old {
			if rest, ok := strings.CutPrefix(l.Value, strings.TrimSuffix(dir, "/")+"/"); ok {
				l.Value = filepath.Join(datadir, rest)
			}
		}
		out = append(out, l)
	}
	return out
}

// effective is the last value of an option, and whether it is set at all.
func effective(lines []Line, names ...string) (Line, bool) {
	for _, l := range slices.Backward(lines) {
		if l.about(names) {
			return l, true
		}
	}
	return Line{}, false
}

// relativeSystemFiles makes the files of "innodb_data_file_path" relative: they all come into the data directory.
func relativeSystemFiles(value string) string {
	parts := strings.Split(value, ";")
	for i, part := range parts {
		name, rest, _ := strings.Cut(part, ":")
		parts[i] = filepath.Base(strings.TrimSpace(name)) + ":" + rest
	}
	return strings.Join(parts, ";")
}

// oldDirs are the names that the live server's data directory goes by.
func oldDirs(p *catalog.Point, real string) []string {
	out := []string{real}
	for _, l := range p.Paths {
		if l.Purpose == database.DataDir && !slices.Contains(out, l.Place.Path) {
			out = append(out, filepath.Clean(l.Place.Path))
		}
	}
	return out
}
