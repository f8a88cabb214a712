package lab

import (
	"cmp"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed service.sh
var serviceScript string

// optionFile keeps every server small (three of them and a browser must fit a laptop) and every commit durable.
func (s *Server) optionFile() string {
	lines := []string{
		"# written by holdstill's lab",
		"[mysqld]",
		"user=mysql",
		"datadir=" + s.Datadir,
		"socket=" + s.Socket,
		"pid-file=" + s.PIDFile,
		"log-error=" + s.ErrorLog,
		"tmpdir=" + filepath.Join(s.Dir, "tmp"),
		fmt.Sprintf("port=%d", s.Port),
		"bind-address=" + s.Bind,
		// SHOW SLAVE HOSTS is blank without these
		"report-host=" + s.Bind,
		fmt.Sprintf("report-port=%d", s.Port),
		"skip-name-resolve=1",
		fmt.Sprintf("server-id=%d", s.ServerID),
		"log-bin=binlog",
		"sync-binlog=1",
		"innodb-flush-log-at-trx-commit=1",
		"innodb-buffer-pool-size=64M",
	}
	if !s.Bare {
		lines = append(lines, "relay-log=relay")
	}
	if s.Logs {
		lines = append(lines, "general-log=1", "general-log-file="+filepath.Join(s.Dir, "log", "general.log"))
	}
	lines = append(lines, s.Build.options()...)
	lines = append(lines, s.Options...)
	lines = append(lines, "[client]", "socket="+s.Socket, "user=root")
	if s.Build.NewStatements() {
		// the relocated clients look for character sets in the system's place; loose: only some of them know the option
		lines = append(lines, "loose-character-sets-dir="+filepath.Join(s.Build.share(), "charsets"))
	}
	return strings.Join(lines, "\n") + "\n"
}

// options are those of the product and version.
func (b Build) options() []string {
	var lines []string
	if b.Root != "/" {
		lines = append(lines,
			"basedir="+b.basedir(),
			"lc-messages-dir="+b.share(),
			"character-sets-dir="+filepath.Join(b.share(), "charsets"))
		if b.Product == MariaDB || b.AtLeast(8, 0) {
			lines = append(lines, "plugin-dir="+cmp.Or(b.Plugins, b.ownPlugins()))
		}
	}
	// a partition must be noticed within seconds, not within a minute
	if b.NewStatements() {
		lines = append(lines, "replica-net-timeout=4")
	} else {
		lines = append(lines, "slave-net-timeout=4", "log-slave-updates=1", "binlog-format=ROW")
	}
	switch {
	case b.Product == MariaDB:
		return append(lines, "gtid-domain-id=0", "innodb-log-file-size=32M")
	case b.AtLeast(8, 0):
		return append(lines, "gtid-mode=ON", "enforce-gtid-consistency=ON", "innodb-redo-log-capacity=64M", "mysqlx=OFF", "secure-file-priv=NULL")
	}
	lines = append(lines, "gtid-mode=ON", "enforce-gtid-consistency=1", "innodb-log-file-size=32M", "explicit-defaults-for-timestamp=1",
		// channels need tables, and so does a replica that survives a crash; the default is files before 8.0
		"master-info-repository=TABLE", "relay-log-info-repository=TABLE")
	if b.AtLeast(5, 7) {
		lines = append(lines, "secure-file-priv=NULL") // its built-in default is a directory that only Oracle's packages make
	}
	return lines
}

func (b Build) basedir() string {
	if b.Product == MySQL && !b.AtLeast(8, 0) {
		return b.Root
	}
	return filepath.Join(b.Root, "usr")
}

func (b Build) ownPlugins() string { return filepath.Join(b.Root, "usr/lib/mysql/plugin") }

func (b Build) share() string {
	switch {
	case b.Product == MariaDB:
		return filepath.Join(b.basedir(), "share/mariadb")
	case b.AtLeast(8, 0):
		return filepath.Join(b.basedir(), "share/mysql")
	}
	if dir := filepath.Join(b.Root, "share/mysql"); isDir(dir) {
		return dir
	}
	return filepath.Join(b.Root, "share")
}

func isFile(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// writeService writes the script that starts and stops the server, for us and for holdstill's configuration.
func (s *Server) writeService() error {
	enter := ""
	if s.Netns != "" {
		// not `ip netns exec`: that makes a mount namespace too, which would pin every volume of the lab
		enter = "nsenter --net=/run/netns/" + s.Netns
	}
	head := fmt.Sprintf("#!/bin/bash\nserver=%s admin=%s\nconf=%s errors=%s\nsocket=%s\nenv=(%s)\nenter=(%s)\n",
		s.Build.Server, s.Build.Admin, s.OptionFile, s.ErrorLog, s.Socket, strings.Join(s.Build.Env, " "), enter)
	_, body, _ := strings.Cut(serviceScript, "\n")
	return os.WriteFile(s.service, []byte(head+body), 0o755)
}
