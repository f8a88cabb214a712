package lab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// pool is the server's own connection pool, opened when first needed.
type pool struct {
	mu sync.Mutex
	db *sql.DB
}

// DB opens a pool of connections as root over the socket. The caller closes it.
func (s *Server) DB() (*sql.DB, error) {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", s.Socket
	return open(config)
}

func open(config *mysql.Config) (*sql.DB, error) {
	config.InterpolateParams = true // one round trip, and 5.6 has a limit on prepared statements
	config.Timeout = 5 * time.Second
	// the driver's own complaints about connections that a test killed on purpose are no news
	config.Logger = quiet{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

type quiet struct{}

func (quiet) Print(...any) {}

func (s *Server) own() (*sql.DB, error) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	if s.pool.db == nil {
		db, err := s.DB()
		if err != nil {
			return nil, err
		}
		s.pool.db = db
	}
	return s.pool.db, nil
}

func (l *Lab) closeConnections() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.servers {
		s.pool.mu.Lock()
		if s.pool.db != nil {
			_ = s.pool.db.Close()
			s.pool.db = nil
		}
		s.pool.mu.Unlock()
	}
}

// Exec executes the statements in order, all on one connection.
func (s *Server) Exec(ctx context.Context, statements ...string) error {
	db, err := s.own()
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("cannot reach %s: %w", s.Name, err)
	}
	defer conn.Close()
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %s: %w", s.Name, statement, err)
		}
	}
	return nil
}

// Value is the first column of the first row; "" for NULL and for no row.
func (s *Server) Value(ctx context.Context, query string) (string, error) {
	row, err := s.firstRow(ctx, query, nil)
	if err != nil || len(row.values) == 0 {
		return "", err
	}
	return row.values[0].String, nil
}

// row is a row read by column names, which is how SHOW statements must be read: their columns differ between versions.
type row struct {
	columns []string
	values  []sql.NullString
}

// get gives the value of the first of the names that the row has.
func (r row) get(names ...string) string {
	for _, name := range names {
		for i, column := range r.columns {
			if column == name {
				return r.values[i].String
			}
		}
	}
	return ""
}

// firstRow that is wanted; a nil wanted wants all.
func (s *Server) firstRow(ctx context.Context, query string, wanted func(row) bool) (found row, err error) {
	db, err := s.own()
	if err != nil {
		return row{}, err
	}
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return row{}, fmt.Errorf("%s: %s: %w", s.Name, query, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return row{}, err
	}
	for rows.Next() {
		r := row{columns: columns, values: make([]sql.NullString, len(columns))}
		into := make([]any, len(columns))
		for i := range into {
			into[i] = &r.values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return row{}, err
		}
		if wanted == nil || wanted(r) {
			return r, nil
		}
	}
	return row{}, rows.Err()
}
