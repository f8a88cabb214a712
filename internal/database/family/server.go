package family

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/optionfile"
)

// Server is one running server of either product.
type Server struct {
	Endpoint database.Endpoint // complete: with its user and its product
	Version  Version

	product string
	release string // as VERSION() says
	dialect Dialect
	say     Statements
	login   optionfile.Login
	db      *sql.DB

	mu    sync.Mutex
	own   map[uint64]bool // the connections of our holds: never our own blockers
	loose *looseTables    // tables without transactions, as last seen
	stops []chan struct{} // of the STOPs that we have sent; each is closed when its statement has ended
}

var _ database.Server = (*Server)(nil)

// Open connects, finds out what the server is, and serves it with the dialect of its product.
func Open(ctx context.Context, endpoint database.Endpoint, dialects ...Dialect) (*Server, error) {
	endpoint, login, err := complete(endpoint)
	if err != nil {
		return nil, err
	}
	db, err := connector(endpoint, login, false)
	if err != nil {
		return nil, err
	}
	s, err := identify(ctx, db, endpoint, login, dialects)
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return s, nil
}

func identify(ctx context.Context, db *sql.DB, endpoint database.Endpoint, login optionfile.Login, dialects []Dialect) (*Server, error) {
	product, release, err := whatIs(ctx, db)
	if err != nil {
		return nil, explain(endpoint, err)
	}
	version, err := ParseVersion(release)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(dialects, func(d Dialect) bool { return slices.Contains(d.Products, product) })
	if i < 0 {
		return nil, fmt.Errorf("cannot serve %s: it is %s %s", address(endpoint), product, release)
	}
	endpoint.Product = product
	return &Server{
		Endpoint: endpoint, Version: version, product: product, release: release,
		dialect: dialects[i], say: dialects[i].Statements(version), login: login, db: db, own: map[uint64]bool{},
	}, nil
}

// Detect asks a server what it is: one of the products of package database, and the version as the server spells it.
func Detect(ctx context.Context, endpoint database.Endpoint) (product, version string, err error) {
	endpoint, login, err := complete(endpoint)
	if err != nil {
		return "", "", err
	}
	db, err := connector(endpoint, login, false)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = db.Close() }()
	product, version, err = whatIs(ctx, db)
	return product, version, explain(endpoint, err)
}

func whatIs(ctx context.Context, db *sql.DB) (product, version string, err error) {
	var comment string
	if err := db.QueryRowContext(ctx, "SELECT VERSION(), @@version_comment").Scan(&version, &comment); err != nil {
		return "", "", err
	}
	both := strings.ToLower(version + " " + comment)
	switch {
	case strings.Contains(both, "mariadb"):
		return database.MariaDB, version, nil
	case strings.Contains(both, "percona"):
		return database.Percona, version, nil
	}
	return database.MySQL, version, nil
}

// Ping reports whether the server answers queries.
func (s *Server) Ping(ctx context.Context) error {
	var one int
	return explain(s.Endpoint, s.db.QueryRowContext(ctx, "SELECT 1").Scan(&one))
}

// Close closes the connections; holds have their own.
func (s *Server) Close() error { return s.db.Close() }

// pin is one connection that stays the same one.
type pin struct {
	*sql.Conn
	db *sql.DB
	id uint64
}

func (s *Server) pin(ctx context.Context) (*pin, error) {
	db, err := connector(s.Endpoint, s.login, true)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		_ = db.Close()
		return nil, explain(s.Endpoint, err)
	}
	p := &pin{Conn: conn, db: db}
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&p.id); err != nil {
		return nil, fmt.Errorf("cannot learn the connection's id: %w", joinClose(err, p))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own[p.id] = true
	return p, nil
}

func (p *pin) Close() error {
	err := p.Conn.Close()
	if closeErr := p.db.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (s *Server) isOwn(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own[id]
}

// started is when the server started, by its own clock, to a second or so.
func started(ctx context.Context, q querier) (time.Time, error) {
	rows, err := query(ctx, q, "SHOW GLOBAL STATUS LIKE 'Uptime'")
	if err != nil {
		return time.Time{}, err
	}
	now, err := query(ctx, q, "SELECT UNIX_TIMESTAMP() AS now")
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(merge(now).number("now")-uptime(pairs(rows).first("uptime")), 0).UTC(), nil
}

// uptime reads seconds. A server whose clock was set back to before its start has an uptime below zero, and shows it as the
// unsigned number of the same bits.
func uptime(shown string) int64 {
	if bits, err := strconv.ParseUint(shown, 10, 64); err == nil {
		return int64(bits)
	}
	n, _ := strconv.ParseInt(shown, 10, 64)
	return n
}
