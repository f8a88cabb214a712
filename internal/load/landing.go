package load

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// landing is the schema in which the tables of one database of a dump are made. Its name begins with landingPrefix, so that leftovers can be
// found in the server itself.
type landing struct {
	schema string
	db     *sql.DB
	conn   *sql.Conn // holds a lock of the schema's name: one load at a time
	local  bool
	done   map[string]record
}

// landingPrefix begins the name of every landing.
const landingPrefix = "holdstill_load_"

// ledger is the table of what is done, under a name that nobody gives a table.
const ledger = "holdstill/done"

// record is a line of the ledger.
type record struct {
	One
	Loaded
}

// fits tells whether the table can be used as it was made then: it has no check whose name another table has in the place where it goes now.
func (r *record) fits(t *table) bool {
	return !slices.ContainsFunc(t.Unnamed, func(name string) bool { return slices.Contains(r.Checks, name) })
}

// landingOf names the landing of a dump's database.
func landingOf(dump, database string) string {
	sum := sha256.Sum256([]byte(dump + "\x00" + database))
	return landingPrefix + hex.EncodeToString(sum[:6])
}

// abandoned tells of landings of other loads: the server lists them, and nobody else would tell.
func abandoned(held *schema.Server, own string) (warnings []string) {
	for _, d := range held.Databases {
		if strings.HasPrefix(d.Name, landingPrefix) && d.Name != own {
			warnings = append(warnings, unended(d.Name))
		}
	}
	return warnings
}

// land opens the landing: new, or as an earlier load left it.
func land(ctx context.Context, p *plan, live swap.Live, restart bool) (*landing, error) {
	conn, err := live.DB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	l := &landing{schema: landingOf(p.identity, p.database), db: live.DB, conn: conn, local: live.LocalOnly, done: map[string]record{}}
	if err := l.open(ctx, restart); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *landing) open(ctx context.Context, restart bool) error {
	var got sql.NullInt64
	if err := l.conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 10)", l.schema).Scan(&got); err != nil {
		return fmt.Errorf("cannot begin the load: %w", err)
	}
	if got.Int64 != 1 {
		return &Refusal{"another load of this dump is under way on the server", "wait for it"}
	}
	statements := []string{"SET SESSION wait_timeout = 86400, foreign_key_checks = 0"}
	if l.local {
		statements = append(statements, "SET SESSION sql_log_bin = 0")
	}
	if restart {
		statements = append(statements, "DROP DATABASE IF EXISTS "+schema.Quote(l.schema))
	}
	statements = append(statements, "CREATE DATABASE IF NOT EXISTS "+schema.Quote(l.schema),
		"CREATE TABLE IF NOT EXISTS "+l.ledger()+" (name VARBINARY(256) PRIMARY KEY, what LONGBLOB) ENGINE=InnoDB")
	for _, s := range statements {
		if _, err := l.conn.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("cannot make the schema for the load: %s: %w", s, err)
		}
	}
	return l.read(ctx)
}

func (l *landing) ledger() string { return schema.Name{Database: l.schema, Table: ledger}.SQL() }

// read learns what is done: what the ledger says and is there.
func (l *landing) read(ctx context.Context) error {
	rows, err := schema.Ask(ctx, l.conn, "SELECT d.name AS name, d.what AS what FROM "+l.ledger()+
		" AS d JOIN information_schema.TABLES AS t ON t.TABLE_SCHEMA = ? AND BINARY CONVERT(t.TABLE_NAME USING utf8mb4) = d.name", l.schema)
	if err != nil {
		return fmt.Errorf("cannot read what was loaded before: %w", err)
	}
	for _, r := range rows {
		var one record
		if json.Unmarshal([]byte(r["what"]), &one) == nil {
			l.done[r["name"]] = one
		}
	}
	return nil
}

// clear drops a table that is half loaded. The ledger may know one of its name that was whole, and that has gone to a staging since.
func (l *landing) clear(ctx context.Context, db *sql.DB, table string) error {
	s, err := session(ctx, db, l.schema, l.local)
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.conn.ExecContext(ctx, "DELETE FROM "+l.ledger()+" WHERE name = ?", []byte(table)); err != nil {
		return fmt.Errorf("cannot note what is not loaded: %w", err)
	}
	if err := s.exec(ctx, "COMMIT"); err != nil {
		return err
	}
	if err := s.exec(ctx, "DROP TABLE IF EXISTS "+schema.Quote(table)); err == nil || !strings.Contains(err.Error(), "SEQUENCE") {
		return err
	}
	return s.exec(ctx, "DROP SEQUENCE IF EXISTS "+schema.Quote(table))
}

// note enters a table that is whole and checked.
func (l *landing) note(ctx context.Context, db *sql.DB, one record) error {
	what, err := json.Marshal(one)
	if err != nil {
		return err
	}
	s, err := session(ctx, db, l.schema, l.local)
	if err != nil {
		return err
	}
	defer s.close()
	_, err = s.conn.ExecContext(ctx, "REPLACE INTO "+l.ledger()+" VALUES (?, ?)", []byte(one.From.Table), what)
	return errors.Join(err, s.exec(ctx, "COMMIT"))
}

// keeps says where the loaded tables are that the live server does not take.
func (l *landing) keeps(err error) error {
	var refusal *swap.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	return fmt.Errorf("%w; what is loaded waits in the schema %s: the same command goes on with it; to give up, drop that schema", err, l.schema)
}

// drop removes the landing, whose tables are in their places.
func (l *landing) drop(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	drop := "DROP DATABASE IF EXISTS " + schema.Quote(l.schema)
	_, err := l.conn.ExecContext(ctx, drop)
	if err == nil {
		return nil
	}
	again, err := session(ctx, l.db, l.schema, l.local) // the server may have died and come back since
	if err != nil {
		return fmt.Errorf("the tables are loaded and in place, but the schema %s cannot be dropped, drop it: %w", l.schema, err)
	}
	defer again.close()
	return again.exec(ctx, drop)
}

func (l *landing) close() { (&sess{l.conn}).close() }
