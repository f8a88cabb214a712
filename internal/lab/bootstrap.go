package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// bootstrap fills the datadir: root over the socket, no password, no test database.
func (s *Server) bootstrap(ctx context.Context) error {
	b := s.Build
	switch {
	case b.Product == MariaDB:
		_, err := run(ctx, b.Install, "--no-defaults", "--user=mysql", "--basedir="+b.basedir(), "--datadir="+s.Datadir,
			"--skip-test-db", "--auth-root-authentication-method=socket", "--auth-root-socket-user=root")
		return err
	case b.AtLeast(5, 7):
		_, err := run(ctx, "env", s.serverArgs("--initialize-insecure")...)
		if err != nil {
			log, _ := os.ReadFile(s.ErrorLog)
			return fmt.Errorf("%w\n%s", err, lastLines(strings.TrimSpace(string(log)), 12))
		}
		return nil
	}
	return s.bootstrap56(ctx)
}

func (s *Server) serverArgs(more ...string) []string {
	args := append([]string{}, s.Build.Env...)
	args = append(args, s.Build.Server, "--defaults-file="+s.OptionFile)
	return append(args, more...)
}

// bootstrap56 does what mysql_install_db does, a perl script that the package lacks.
func (s *Server) bootstrap56(ctx context.Context) error {
	script := filepath.Join(s.Dir, "tmp", "bootstrap.sql")
	text := "CREATE DATABASE mysql;\nUSE mysql;\n"
	for _, name := range []string{"mysql_system_tables.sql", "mysql_system_tables_data.sql"} {
		part, err := os.ReadFile(filepath.Join(s.Build.share(), name))
		if err != nil {
			return err
		}
		text += string(part) + "\n"
	}
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		return err
	}
	// with GTIDs on, the bootstrap fails on its own MyISAM tables
	args := s.serverArgs("--bootstrap", "--skip-log-bin", "--gtid-mode=OFF", "--enforce-gtid-consistency=0", "--innodb-fast-shutdown=0",
		"--master-info-repository=FILE", "--relay-log-info-repository=FILE")
	_, err := run(ctx, "bash", append([]string{"-c", `exec env "$@" <"$0"`, script}, args...)...)
	return err
}
