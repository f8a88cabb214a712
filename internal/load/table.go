package load

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// Loaded is a table that was loaded, without its foreign keys and triggers.
type Loaded struct {
	Table    string
	Rows     int64     // that the text brought
	Checks   []string  // the names of its check constraints
	Defaults []Default // that wait for their sequences
	Changes  []string  // what was translated for another product
}

// Default is one of a column that a sequence gives.
type Default struct {
	Column   string
	Sequence schema.Name // in the dump
}

func (d Default) with(sequence schema.Name) string {
	return "ALTER COLUMN " + schema.Quote(d.Column) + " SET DEFAULT (nextval(" + sequence.SQL() + "))"
}

// text is the SQL of one table.
type text struct {
	in        io.Reader
	from      schema.Name                 // the table that is wanted from it
	into      string                      // the schema, where it gets the same name
	as        string                      // under this name, if not ""
	bytes     int64                       // of the file: a small table is not worth a second pass for its indexes
	local     bool                        // keep it out of the binary log
	translate *translation                // nil: to the same product
	unnamed   []string                    // checks whose names are taken
	sequences map[schema.Name]schema.Name // those that have another name in the server
	waiting   bool                        // they may not be there yet: defaults that need one are told, and not made
}

// worthDeferring is the size of a packed file from which indexes are made after the rows. Below, the ALTER costs more than it saves.
const worthDeferring = 4 << 20

// batch is how many statements of about a megabyte are one transaction.
const batch = 16

// load runs the text's statements that are about its table, on a session of its own.
func (t *text) load(ctx context.Context, db *sql.DB) (*Loaded, error) {
	s, err := session(ctx, db, t.into, t.local)
	if err != nil {
		return nil, err
	}
	defer s.close()
	out := &Loaded{Table: t.from.Table}
	later, err := t.run(ctx, s, out)
	if err != nil {
		return nil, err
	}
	if err := s.exec(ctx, "COMMIT"); err != nil {
		return nil, err
	}
	for _, statement := range later {
		if err := s.exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// run reads to the end of the text, and returns what is to be done after it.
func (t *text) run(ctx context.Context, s *sess, out *Loaded) (later []string, err error) {
	in := dumpfile.NewStatements(t.in)
	made, open := false, 0
	here := true // a text without USE is all of the wanted database
	for {
		statement, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		what, name, err := meaning(statement)
		if err != nil {
			return nil, err
		}
		switch {
		case what == switching:
			here = strings.EqualFold(name, t.from.Database)
			continue
		case what == skipped || what == code || what != setting && !here:
			continue
		case name != "" && name != t.from.Table:
			continue
		}
		sql := string(statement.Text)
		switch what {
		case create:
			made = true
			if sql, later, err = t.created(sql, out); err != nil {
				return nil, fmt.Errorf("line %d: %w", statement.Line, err)
			}
		case insert:
			out.Rows += dumpfile.RowsOf(statement)
		}
		if name != "" && t.as != "" { // the tools quote it, and it stands there first
			sql = strings.Replace(sql, schema.Quote(name), schema.Quote(t.as), 1)
		}
		if err := s.exec(ctx, sql); err != nil {
			return nil, fmt.Errorf("line %d: %w", statement.Line, err)
		}
		if open++; what == insert && open%batch == 0 {
			if err := s.exec(ctx, "COMMIT"); err != nil {
				return nil, err
			}
		}
	}
	if !made {
		return nil, fmt.Errorf("it has no CREATE TABLE for %s", t.from)
	}
	return later, nil
}

// created changes the statement that makes the table, and returns what is to be done after the rows are there.
func (t *text) created(sql string, out *Loaded) (string, []string, error) {
	sql = swap.Unname(sql, t.unnamed)
	if !t.waiting {
		sql = swap.Redirected(sql, t.sequences)
	}
	d, ok := parse(sql)
	if !ok {
		if strings.Contains(sql, "FOREIGN KEY") || t.translate != nil && createTable.MatchString(sql) {
			return "", nil, errors.New("the CREATE TABLE is not in the form in which servers show it, so its foreign keys cannot be told")
		}
		if t.translate != nil {
			return "", nil, errors.New("a sequence has no counterpart in MySQL")
		}
		return sql, nil, nil
	}
	d.takeKeys(t.from.Database)
	out.Checks = swap.Checks(sql)
	if t.waiting && t.translate == nil {
		out.Defaults = d.takeDefaults(t.from.Database)
	}
	if t.bytes >= worthDeferring {
		d.deferIndexes()
	}
	if t.translate != nil {
		changes, err := t.translate.table(d)
		if err != nil {
			return "", nil, err
		}
		out.Changes = changes
	}
	return d.String(), d.after(t.name()), nil
}

// name is the table's in the schema where it is made.
func (t *text) name() string {
	if t.as != "" {
		return t.as
	}
	return t.from.Table
}

// after are the statements for what was put off.
func (d *definition) after(table string) []string {
	if len(d.later) == 0 {
		return nil
	}
	return []string{"ALTER TABLE " + schema.Quote(table) + " " + strings.Join(d.later, ", ")}
}

// sess is a connection that is thrown away afterwards: a dump's settings are nobody else's.
type sess struct{ conn *sql.Conn }

func session(ctx context.Context, db *sql.DB, into string, local bool) (*sess, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s := &sess{conn}
	statements := []string{"SET NAMES utf8mb4", "SET SESSION foreign_key_checks = 0, unique_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO', autocommit = 0, lock_wait_timeout = 60, wait_timeout = 86400"}
	if local {
		statements = append(statements, "SET SESSION sql_log_bin = 0")
	}
	for _, statement := range append(statements, "USE "+schema.Quote(into)) {
		if err := s.exec(ctx, statement); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *sess) close() {
	_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = s.conn.Close()
}

func (s *sess) exec(ctx context.Context, statement string) error {
	_, err := s.conn.ExecContext(ctx, statement)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("the server answers to %.100s: %w", statement, err)
	var said *mysql.MySQLError
	if errors.Is(err, mysql.ErrPktTooLarge) || errors.As(err, &said) && said.Number == 1153 {
		err = fmt.Errorf("%w (a row is longer than max_allowed_packet: raise it for the time of the load, 1G is the most)", err)
	}
	return err
}
