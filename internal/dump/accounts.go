package dump

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
)

// builtIn are accounts that every server makes by itself.
var builtIn = []string{"mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys", "PUBLIC"}

// accounts writes the statements that make the accounts, or those that grant what they may. The dump tools have no portable way to.
func accounts(ctx context.Context, db *sql.DB, held *schema.Server, part dumpfile.Part) (text string, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if held.Product == database.MySQL && versionOf(held.Version)[0] >= 8 {
		// else the salts of caching_sha2_password stand there as raw bytes, which no text survives
		if _, err := conn.ExecContext(ctx, "SET SESSION print_identified_with_as_hex = ON"); err != nil {
			return "", err
		}
	}
	var lines, later []string
	for _, a := range held.Accounts {
		if slices.Contains(builtIn, a.User) {
			continue
		}
		statements, err := statementsOf(ctx, conn, a, part)
		if err != nil {
			return "", fmt.Errorf("cannot ask for the account %s: %w", nameOf(a), err)
		}
		for _, s := range statements {
			if part == dumpfile.Users && strings.Contains(s, "DEFAULT ROLE") {
				later = append(later, s+";") // the role must be there
			} else {
				lines = append(lines, s+";")
			}
		}
	}
	return strings.Join(append(lines, later...), "\n") + "\n", nil
}

func statementsOf(ctx context.Context, q schema.Querier, a schema.Account, part dumpfile.Part) ([]string, error) {
	if part == dumpfile.Users && a.Role {
		return []string{"CREATE ROLE IF NOT EXISTS " + nameOf(a)}, nil
	}
	question := "SHOW GRANTS FOR " + nameOf(a)
	if part == dumpfile.Users {
		question = "SHOW CREATE USER " + nameOf(a)
	}
	rows, err := schema.Ask(ctx, q, question)
	var out []string
	for _, r := range rows {
		for _, statement := range r { // one column, whose name has the account in it
			if rest, ok := strings.CutPrefix(statement, "CREATE USER "); ok {
				statement = "CREATE USER IF NOT EXISTS " + rest
			}
			out = append(out, statement)
		}
	}
	return out, err
}

func nameOf(a schema.Account) string {
	user := schema.Quote(a.User)
	if a.Role {
		return user
	}
	return user + "@" + schema.Quote(a.Host)
}
