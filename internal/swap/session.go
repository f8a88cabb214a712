package swap

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/schema"
)

const (
	patience = time.Minute
	// A statement that waits for a table keeps everybody from it who comes after: so it waits for this long only, and tries again.
	oneWait = 1 // s, lock_wait_timeout has no fractions
	between = 250 * time.Millisecond
	// quietLimit is how long a later process waits until the statements of a dead one have ended. A server notices that a client is
	// gone only when the statement is over.
	quietLimit = 5 * time.Minute
)

// The servers' error numbers.
const (
	lockTimeout     = 1205
	deadlock        = 1213
	unknownVariable = 1193
)

// session is one connection that stays the same one, with a lock of the run's name: a later process knows by it that nothing of
// ours is still going on.
type session struct {
	conn     *sql.Conn
	patience time.Duration
}

func lockName(run string) string { return "holdstill_" + run }

func open(ctx context.Context, live Live, run string) (*session, error) {
	conn, err := live.DB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, patience: live.Patience}
	if s.patience == 0 {
		s.patience = patience
	}
	if err := s.prepare(ctx, live.LocalOnly, run); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) prepare(ctx context.Context, localOnly bool, run string) error {
	settings := []string{
		fmt.Sprintf("SET SESSION lock_wait_timeout = %d, innodb_lock_wait_timeout = %d", oneWait, oneWait),
		"SET SESSION foreign_key_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
		"SET SESSION wait_timeout = 86400", // the copying between two statements may be long
	}
	if localOnly {
		settings = append(settings, "SET SESSION sql_log_bin = 0")
	}
	for _, statement := range settings {
		if _, err := s.conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	// old settings of innodb_strict_mode may refuse what the point's server had accepted
	if _, err := s.conn.ExecContext(ctx, "SET SESSION innodb_strict_mode = 0"); err != nil && number(err) != unknownVariable && !denied(err) {
		return err
	}
	var got sql.NullInt64
	err := s.conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", lockName(run), int(quietLimit.Seconds())).Scan(&got)
	if err == nil && got.Int64 != 1 {
		err = errors.New("a statement of the dead run is still going on in the server")
	}
	return err
}

// close ends the connection itself, with its lock and its settings, and does not give it back to the pool.
func (s *session) close() {
	if s == nil || s.conn == nil {
		return
	}
	_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = s.conn.Close()
	s.conn = nil
}

// exec runs a statement; where somebody uses what it needs, again and again.
func (s *session) exec(ctx context.Context, statement string, args ...any) error {
	if s.conn == nil {
		return errLost
	}
	for end := time.Now().Add(s.patience); ; {
		_, err := s.conn.ExecContext(ctx, statement, args...)
		if err == nil {
			return nil
		}
		if n := number(err); n != lockTimeout && n != deadlock || time.Now().After(end) {
			return fmt.Errorf("%s: %w", Short(statement), lost(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(between):
		}
	}
}

func (s *session) ask(ctx context.Context, query string, args ...any) ([]schema.Record, error) {
	if s.conn == nil {
		return nil, errLost
	}
	rows, err := schema.Ask(ctx, s.conn, query, args...)
	return rows, lost(err)
}

// errLost says in plain words what the driver calls a bad connection.
var errLost = errors.New("the connection to the server is lost: it died, was stopped, or ended the connection")

func lost(err error) error {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, sql.ErrConnDone) {
		return errLost
	}
	return err
}

// there tells whether a table or view exists.
func (s *session) there(ctx context.Context, n schema.Name) (bool, error) {
	rows, err := s.ask(ctx, "SELECT 1 AS one FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", n.Database, n.Table)
	return len(rows) > 0, err
}

func (s *session) databaseThere(ctx context.Context, name string) (bool, error) {
	rows, err := s.ask(ctx, "SELECT 1 AS one FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?", name)
	return len(rows) > 0, err
}

func number(err error) uint16 {
	var said *mysql.MySQLError
	if errors.As(err, &said) {
		return said.Number
	}
	return 0
}

func denied(err error) bool { n := number(err); return n == 1227 || n == 1231 || n == 1045 }

// Short is the beginning of a statement, for messages.
func Short(statement string) string {
	const limit = 160
	if r := []rune(statement); len(r) > limit {
		return string(r[:limit]) + "..."
	}
	return statement
}
