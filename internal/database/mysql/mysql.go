// Package mysql is the make for MySQL servers and their fork of Percona.
package mysql

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/family"
)

// Open connects to a MySQL or Percona server.
func Open(ctx context.Context, endpoint database.Endpoint) (database.Server, error) {
	s, err := family.Open(ctx, endpoint, Dialect())
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Dialect is how MySQL is spoken to.
func Dialect() family.Dialect {
	return family.Dialect{
		Products:   []string{database.MySQL, database.Percona},
		Statements: statements,
		Needs:      needs,
		Paths:      paths,
		GTID:       gtid,
		Mode:       func(v family.Variables) string { return v["gtid_mode"] },
		Skips:      func(channel string) bool { return strings.HasPrefix(channel, "group_replication_") },
		Groups:     groups,
	}
}

// gtid: a server without a binary log tells its executed set only in the variable.
func gtid(r family.Row) string {
	if set := r["executed_gtid_set"]; set != "" {
		return set
	}
	return r["gtid_executed"]
}

func paths(version family.Version, v family.Variables) []database.Path {
	out := []database.Path{{Purpose: database.RedoLog, Path: redo(version, v["innodb_log_group_home_dir"])}}
	if dir, ok := v["innodb_doublewrite_dir"]; ok { // since 8.0.20
		out = append(out, database.Path{Purpose: database.Doublewrite, Path: first(dir, v["innodb_data_home_dir"], ".")})
	}
	for dir := range strings.SplitSeq(v["innodb_directories"], ";") {
		out = append(out, database.Path{Purpose: database.Tablespace, Path: strings.Trim(dir, `" `)})
	}
	for _, name := range []string{"keyring_file_data", "keyring_encrypted_file_data"} {
		out = append(out, database.Path{Purpose: database.Keyring, Path: v[name]})
	}
	if version.AtLeast(family.V(8, 0, 0)) {
		out = append(out, database.Path{Purpose: database.Persisted, Path: "mysqld-auto.cnf"})
	}
	return out
}

func redo(version family.Version, dir string) string {
	if version.AtLeast(family.V(8, 0, 30)) {
		return filepath.Join(dir, "#innodb_redo")
	}
	return first(dir, ".")
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func groups(v family.Version) []string {
	return []string{"mysqld", "server", fmt.Sprintf("mysqld-%d.%d", v.Major, v.Minor)}
}
