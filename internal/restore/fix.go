package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
)

// fix rewrites every name by which the copy would find files of its original.
func (j *Job) fix(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case !e.Type().IsRegular():
		case strings.HasSuffix(e.Name(), ".index") || strings.HasSuffix(e.Name(), ".~rec~"):
			// The register of a purge (~rec~) too: at its start a server deletes the files that it names.
			err = edit(path, relativeNames)
		case relayInfo.MatchString(e.Name()):
			err = edit(path, relativeFirst)
		case e.Name() == persistedName:
			err = Forget(dir, persistedDropped...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var relayInfo = regexp.MustCompile(`^relay-log.*\.info$`)

// relativeNames makes every line of an index name a file of the data directory.
func relativeNames(content []byte) []byte {
	lines := strings.Split(string(content), "\n")
	for i, l := range lines {
		lines[i] = relative(l)
	}
	return []byte(strings.Join(lines, "\n"))
}

func relative(line string) string {
	if strings.Contains(line, "/") {
		return "./" + filepath.Base(line)
	}
	return line
}

// relativeFirst does so for the name of the current relay log: the first line of such a file, or the second where the first
// counts the lines.
func relativeFirst(content []byte) []byte {
	lines := strings.Split(string(content), "\n")
	for i := range min(2, len(lines)) {
		lines[i] = relative(lines[i])
	}
	return []byte(strings.Join(lines, "\n"))
}

// edit replaces a file's content, keeping owner and mode.
func edit(path string, change func([]byte) []byte) error {
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	after := change(slices.Clone(before))
	if string(after) == string(before) {
		return nil
	}
	return replace(path, after)
}

func replace(path string, content []byte) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(info.Mode().Perm()), renameio.IgnoreUmask())
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if os.Geteuid() == 0 {
		if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// persistedName holds what SET PERSIST said, in the data directory of MySQL 8 and later. It wins over every option file.
const persistedName = "mysqld-auto.cnf"

// persistedDropped are the persisted variables that must not win over our option file.
var persistedDropped = []string{
	"bind_address", "port", "socket", "pid_file", "tmpdir", "log_error", "report_host", "report_port", "report_user", "report_password",
	"relay_log", "relay_log_index", "relay_log_info_file", "log_bin", "log_bin_index", "log_bin_basename", "innodb_directories",
	"innodb_log_group_home_dir", "innodb_data_home_dir", "innodb_undo_directory", "innodb_doublewrite_dir", "innodb_tmpdir",
	"innodb_temp_tablespaces_dir", "replica_load_tmpdir", "slave_load_tmpdir", "init_file", "init_replica", "init_slave",
	"general_log_file", "slow_query_log_file", "skip_replica_start", "skip_slave_start", "admin_address", "admin_port",
	"mysqlx_port", "mysqlx_socket", "mysqlx_bind_address", "group_replication_start_on_boot", "relay_log_recovery",
}

// Forget removes variables from those that the server in dir persisted. No such file is no error.
func Forget(dir string, names ...string) error {
	path := filepath.Join(dir, persistedName)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || len(strings.TrimSpace(string(content))) == 0 && err == nil {
		return nil
	}
	if err != nil {
		return err
	}
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(content, &tree); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	changed, err := prune(tree, names)
	if err != nil || !changed {
		return err
	}
	out, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return replace(path, out)
}

// prune works on every version of the file's format: they differ in how deep the variables lie, not in what they are called.
func prune(tree map[string]json.RawMessage, names []string) (bool, error) {
	changed := false
	for key, raw := range tree {
		if slices.Contains(names, key) {
			delete(tree, key)
			changed = true
			continue
		}
		var below map[string]json.RawMessage
		if json.Unmarshal(raw, &below) != nil || below == nil {
			continue
		}
		inner, err := prune(below, names)
		if err != nil {
			return changed, err
		}
		if !inner {
			continue
		}
		if tree[key], err = json.Marshal(below); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}
