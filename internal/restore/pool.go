package restore

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/optionfile"
)

// Login is an account with its password, in memory only. It is never printed: String hides it.
type Login struct {
	User, Password string
	Socket         string
	Host           string
	Port           int
}

// String keeps a password out of logs.
func (l Login) String() string { return fmt.Sprintf("login of %q", l.User) }

// GoString does so for %#v.
func (l Login) GoString() string { return l.String() }

// Pool opens connections for a login. Over a network they use TLS where the server has it.
func Pool(l Login) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd = l.User, l.Password
	cfg.Net, cfg.Addr = "unix", l.Socket
	if l.Socket == "" {
		cfg.Net, cfg.Addr, cfg.TLSConfig = "tcp", net.JoinHostPort(l.Host, strconv.Itoa(l.Port)), "preferred"
	}
	cfg.Timeout = 10 * time.Second
	cfg.InterpolateParams = true // the servers prepare no replication statements
	cfg.ConnectionAttributes = "program_name:holdstill"
	cfg.Logger = &mysql.NopLogger{}
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare a connection: %w", err)
	}
	return sql.OpenDB(c), nil
}

// connect opens a pool over an endpoint; the password comes from its client option file.
func connect(_ context.Context, e database.Endpoint) (*sql.DB, error) {
	l := Login{User: e.User, Socket: e.Socket, Host: e.Host, Port: e.Port}
	if e.OptionFile != "" {
		read, err := optionfile.ReadLogin(e.OptionFile)
		if err != nil {
			return nil, err
		}
		l.Password = read.Password
		if l.User == "" {
			l.User = read.User
		}
	}
	if l.User == "" {
		l.User = "root"
	}
	return Pool(l)
}
