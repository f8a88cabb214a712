// Package mariadb is the make for MariaDB servers.
package mariadb

import (
	"context"
	"fmt"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/family"
)

// Open connects to a MariaDB server.
func Open(ctx context.Context, endpoint database.Endpoint) (database.Server, error) {
	s, err := family.Open(ctx, endpoint, Dialect())
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Dialect is how MariaDB is spoken to.
func Dialect() family.Dialect {
	return family.Dialect{
		Products:   []string{database.MariaDB},
		Statements: statements,
		Needs:      needs,
		Paths:      paths,
		GTID:       gtid,
		Mode:       gtidMode,
		Groups:     groups,
	}
}

// gtid is the position of the own binary log; without one, what was executed.
func gtid(r family.Row) string {
	if r["file"] != "" {
		return r["gtid_binlog_pos"]
	}
	return r["gtid_current_pos"]
}

// gtidMode: whoever writes a binary log has GTIDs in it.
func gtidMode(v family.Variables) string {
	if v.On("log_bin") {
		return "ON"
	}
	return "OFF"
}

func paths(_ family.Version, v family.Variables) []database.Path {
	out := []database.Path{
		{Purpose: database.RedoLog, Path: orDot(v["innodb_log_group_home_dir"])},
		{Purpose: database.AriaLog, Path: orDot(v["aria_log_dir_path"])},
	}
	for _, name := range []string{"file_key_management_filename", "file_key_management_filekey"} {
		out = append(out, database.Path{Purpose: database.Keyring, Path: keyFile(v[name])})
	}
	return out
}

// keyFile: the key may also be written into the option itself, unless it says "FILE:".
func keyFile(value string) string {
	if len(value) > 5 && value[:5] == "FILE:" {
		return value[5:]
	}
	if len(value) > 0 && value[0] == '/' {
		return value
	}
	return ""
}

func orDot(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// groups are those that a MariaDB server reads.
func groups(v family.Version) []string {
	release := fmt.Sprintf("-%d.%d", v.Major, v.Minor)
	out := []string{"client-server"}
	for _, g := range []string{"mysqld", "server", "mariadb", "mariadbd"} {
		out = append(out, g)
		if g != "server" {
			out = append(out, g+release)
		}
	}
	return append(out, "galera")
}
