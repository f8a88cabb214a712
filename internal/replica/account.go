package replica

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdstill/holdstill/internal/database/optionfile"
	"github.com/holdstill/holdstill/internal/restore"
)

// earlyLogin finds a channel's account before anything is touched: in the file that was given, or in the copy's files.
func earlyLogin(r Request, w *restore.World, c *Channel) (bool, error) {
	c.Login.Host, c.Login.Port = c.Host, c.Port
	if r.SourceClientOptionFile != "" {
		read, err := optionfile.ReadLogin(r.SourceClientOptionFile)
		if err != nil {
			return false, fmt.Errorf("cannot read the account for the source: %w", err)
		}
		c.Login.User, c.Login.Password, c.Given = read.User, read.Password, true
		return true, nil
	}
	return c.fromFile(w.Source.Path)
}

// fromFile reads master.info, where MariaDB, and MySQL before 8.0 by default, keep the account of a channel: a value a line.
func (c *Channel) fromFile(datadir string) (bool, error) {
	const user, password = 4, 5 // after the number of lines, file, position, host
	name := "master.info"
	if c.Name != "" {
		name = "master-" + strings.ToLower(c.Name) + ".info"
	}
	content, err := os.ReadFile(filepath.Join(datadir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read the account for the source: %w", err)
	}
	lines := strings.Split(string(content), "\n")
	if len(lines) <= password {
		return false, nil
	}
	c.Login.User, c.Login.Password = lines[user], lines[password]
	return c.Login.User != "", nil
}

// readAccounts reads those that are in MySQL's table.
func (m *making) readAccounts(ctx context.Context, db *sql.DB) error {
	for i := range m.Channels {
		c := &m.Channels[i]
		if c.Login.User != "" {
			continue
		}
		rows, err := restore.Rows(ctx, db, "SELECT * FROM mysql.slave_master_info")
		if err != nil {
			return &noAccount{fmt.Errorf("cannot read the account for the source from the copy: %w", err)}
		}
		for _, r := range rows {
			if r["Channel_name"] == c.Name {
				c.Login.User, c.Login.Password = r["User_name"], r["User_password"]
			}
		}
		if c.Login.User == "" {
			return &noAccount{fmt.Errorf("the copy does not hold the account for the source %s", c.Address())}
		}
	}
	return nil
}

type noAccount struct{ error }

func (e *noAccount) Unwrap() error { return e.error }

// Hint says where else an account can come from.
func (*noAccount) Hint() string {
	return "give one with --source-client-option-file, or set replication.client_option_file in the configuration"
}
