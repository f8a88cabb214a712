package archive

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// The products, as everywhere in Holdstill.
const (
	MySQL   = "mysql"
	MariaDB = "mariadb"
)

// Source is how a server is reached.
type Source struct {
	Socket   string // or
	Host     string
	Port     int
	User     string
	Password string
	TLS      *tls.Config // nil: none
	Lenient  bool        // without TLS where the server has none
}

// Address is how people write it.
func (s Source) Address() string {
	if s.Socket != "" {
		return s.Socket
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

// String keeps the password out of logs.
func (s Source) String() string { return s.User + "@" + s.Address() }

// GoString does so for %#v.
func (s Source) GoString() string { return s.String() }

const patience = 10 * time.Second // for an answer, and for a connection

// dial connects by socket or TCP.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: patience}).DialContext(ctx, network, address)
}

// connect opens a connection for statements.
func (s *Source) connect(ctx context.Context) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := client.ConnectWithDialer(ctx, "", s.Address(), s.User, s.Password, "", dial, func(c *client.Conn) error {
		c.SetTLSConfig(s.TLS)
		c.ReadTimeout, c.WriteTimeout = patience, patience
		return nil
	})
	if err != nil && s.Lenient && s.TLS != nil && strings.Contains(err.Error(), "does not support TLS") {
		s.TLS = nil
		return s.connect(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s as %s: %w", s.Address(), s.User, unreachable(err))
	}
	return c, nil
}

// unreachable adds what a person can do about it.
func unreachable(err error) error {
	const noPassword = 1698 // the uid is not the user's
	if code := codeOf(err); code == mysql.ER_ACCESS_DENIED_ERROR || code == noPassword {
		return hinted{err, "create the replication account as docs/binlog.md says, and name its client option file in the configuration"}
	}
	return err
}

// hinted is an error that a person can do something about.
type hinted struct {
	error
	hint string
}

func (h hinted) Hint() string  { return h.hint }
func (h hinted) Unwrap() error { return h.error }

// codeOf is the server's number of an error; 0: it is none of the server's.
func codeOf(err error) uint16 {
	var answer *mysql.MyError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return 0
}

// position is a place in a server's binary log.
type position struct {
	file string
	at   int64
}

func (p position) String() string { return fmt.Sprintf("%s:%d", p.file, p.at) }

// logFile is what a server says of one of its binary logs.
type logFile struct {
	name string
	size int64 // with the 512 bytes before the log where MySQL encrypts it
}

// facts are what a server says of itself.
type facts struct {
	server Server
	logs   []logFile
	end    position // where it writes next
	gtids  bool     // every transaction has one
}

func (f *facts) index(name string) int {
	for i, l := range f.logs {
		if l.name == name {
			return i
		}
	}
	return -1
}

// ask reads the facts.
func ask(c *client.Conn) (*facts, error) {
	f := &facts{}
	row, err := first(c, "SELECT @@version, @@server_id")
	if err != nil {
		return nil, err
	}
	f.server = Server{Product: MySQL, Version: row(0)}
	id, _ := strconv.ParseUint(row(1), 10, 32)
	f.server.ID = uint32(id)
	if strings.Contains(f.server.Version, "MariaDB") {
		f.server.Product, f.gtids = MariaDB, true
	} else if row, err = first(c, "SELECT @@server_uuid, @@gtid_mode"); err == nil { // 5.5 has neither
		f.server.UUID, f.gtids = row(0), row(1) == "ON"
	}
	if f.logs, err = logFiles(c); err != nil {
		return nil, err
	}
	f.end, err = endOf(c, f.server.Product)
	return f, err
}

func first(c *client.Conn, statement string) (func(int) string, error) {
	r, err := c.Execute(statement)
	if err != nil {
		return nil, refused(statement, err)
	}
	if r.RowNumber() == 0 {
		return nil, fmt.Errorf("%s: the server answers nothing: is its binary log on?", statement)
	}
	return func(column int) string { text, _ := r.GetString(0, column); return strings.Clone(text) }, nil
}

func logFiles(c *client.Conn) ([]logFile, error) {
	const statement = "SHOW BINARY LOGS"
	r, err := c.Execute(statement)
	if err != nil {
		return nil, refused(statement, err)
	}
	var out []logFile
	for i := range r.RowNumber() {
		name, _ := r.GetString(i, 0)
		size, _ := r.GetInt(i, 1)
		out = append(out, logFile{name: strings.Clone(name), size: size})
	}
	if len(out) == 0 {
		return nil, errors.New("the server has no binary log")
	}
	return out, nil
}

func endOf(c *client.Conn, product string) (position, error) {
	statement := "SHOW BINARY LOG STATUS"
	if product == MariaDB {
		statement = "SHOW MASTER STATUS"
	}
	row, err := first(c, statement)
	if codeOf(err) == mysql.ER_PARSE_ERROR { // before 8.2
		row, err = first(c, "SHOW MASTER STATUS")
	}
	if err != nil {
		return position{}, err
	}
	at, err := strconv.ParseInt(row(1), 10, 64)
	return position{row(0), at}, err
}

// refused adds what a person can do about it.
func refused(statement string, err error) error {
	err = fmt.Errorf("%s: %w", statement, err)
	switch codeOf(err) {
	case mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR:
		return hinted{err, "the account wants REPLICATION SLAVE and REPLICATION CLIENT (MariaDB: BINLOG MONITOR)"}
	case mysql.ER_NO_BINARY_LOGGING:
		return hinted{err, "set log_bin in the server's option file, and restart it"}
	}
	return err
}
