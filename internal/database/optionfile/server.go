package optionfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

// globalFiles are read in this order by the builds of distributions and vendors; those that are missing don't matter.
var globalFiles = []string{"/etc/my.cnf", "/etc/mysql/my.cnf", "/usr/local/mysql/etc/my.cnf", "/usr/etc/my.cnf"}

// Files says which option files a server reads.
type Files struct {
	Only   string   // --defaults-file: nothing else is read
	Extra  string   // --defaults-extra-file: after the global ones, before the user's
	None   bool     // --no-defaults
	Suffix string   // --defaults-group-suffix
	Global []string // read in this order
	User   string   // HOME/.my.cnf of whoever started the server: read last
}

// ServerFiles finds the default options among the arguments of a running server (the program's name first). Servers
// accept them only before all others, so one that comes later is the server's own.
func ServerFiles(arguments []string) Files {
	f := Files{Global: globalFiles}
	for _, a := range defaultArguments(arguments) {
		name, value, _ := strings.Cut(a, "=")
		switch Name(strings.TrimPrefix(name, "--")) {
		case "defaults_file":
			f.Only = value
		case "defaults_extra_file":
			f.Extra = value
		case "no_defaults":
			f.None = true
		case "defaults_group_suffix":
			f.Suffix = value
		}
	}
	return f
}

// defaultArguments are the leading ones that say what to read.
func defaultArguments(arguments []string) []string {
	if len(arguments) == 0 {
		return nil
	}
	rest := arguments[1:]
	end := slices.IndexFunc(rest, func(a string) bool {
		name, _, _ := strings.Cut(a, "=")
		return !slices.Contains([]string{"--defaults-file", "--defaults-extra-file", "--no-defaults", "--defaults-group-suffix", "--print-defaults"}, name)
	})
	if end < 0 {
		return rest
	}
	return rest[:end]
}

// In adds what the server's environment changes, given as in /proc/PID/environ split at NULs.
func (f Files) In(environment []string) Files {
	for _, e := range environment {
		name, value, _ := strings.Cut(e, "=")
		switch {
		case value == "":
		case name == "MYSQL_HOME":
			f.Global = append(slices.Clone(f.Global), filepath.Join(value, "my.cnf"))
		case name == "HOME":
			f.User = filepath.Join(value, ".my.cnf")
		case name == "MYSQL_GROUP_SUFFIX" && f.Suffix == "":
			f.Suffix = value
		}
	}
	return f
}

func (f Files) paths() []string {
	if f.None {
		return nil
	}
	if f.Only != "" {
		return []string{f.Only}
	}
	out := slices.Clone(f.Global)
	for _, path := range []string{f.Extra, f.User} {
		if path != "" {
			out = append(out, path)
		}
	}
	return out
}

// ReadServer reads the option files of a server: only the given groups, each also with the suffix. Secrets come out empty.
func ReadServer(files Files, groups []string) ([]database.OptionFile, error) {
	groups = slices.Clone(groups)
	if files.Suffix != "" {
		for _, g := range slices.Clone(groups) {
			groups = append(groups, g+files.Suffix)
		}
	}
	var out []database.OptionFile
	for _, path := range files.paths() {
		read, err := parseFile(path, groups)
		if errors.Is(err, fs.ErrNotExist) && path != files.Only {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the option file %s: %w", path, err)
		}
		out = append(out, read...)
	}
	hideSecrets(out)
	return out, nil
}
