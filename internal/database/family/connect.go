package family

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/optionfile"
)

const (
	connectTimeout = 10 * time.Second
	programName    = "holdstill"
)

// Hint is an error that a person can do something about.
type hinted struct {
	error
	hint string
}

func (h *hinted) Hint() string  { return h.hint }
func (h *hinted) Unwrap() error { return h.error }

// complete fills what the endpoint leaves open from its client option file and the defaults. The password goes nowhere else.
func complete(e database.Endpoint) (database.Endpoint, optionfile.Login, error) {
	var login optionfile.Login
	if e.OptionFile != "" {
		var err error
		if login, err = optionfile.ReadLogin(e.OptionFile); err != nil {
			return e, login, err
		}
	}
	if e.User == "" {
		e.User = login.User
	}
	if e.User == "" {
		e.User = "root"
	}
	if e.Socket == "" && e.Host == "" {
		e.Socket, e.Host = login.Socket, login.Host
		if e.Port == 0 {
			e.Port = login.Port
		}
	}
	if e.Socket == "" && e.Host == "" {
		return e, login, errors.New("cannot connect: neither a socket nor a host is known")
	}
	if e.Socket != "" {
		e.Host, e.Port = "", 0
	} else if e.Port == 0 {
		e.Port = 3306
	}
	return e, login, nil
}

// connector prepares connections to the endpoint. Several statements in one packet are only allowed where the hold needs them.
func connector(e database.Endpoint, login optionfile.Login, several bool) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd = e.User, login.Password
	cfg.Net, cfg.Addr = "unix", e.Socket
	if e.Socket == "" {
		cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
		if err := secure(cfg, login); err != nil {
			return nil, err
		}
	}
	cfg.Timeout = connectTimeout
	cfg.InterpolateParams = true
	cfg.MultiStatements = several
	if !several {
		// looking must not wait for somebody's DDL: a table that is being made would keep information_schema waiting
		cfg.Params = map[string]string{"lock_wait_timeout": "1"}
	}
	cfg.ConnectionAttributes = "program_name:" + programName
	cfg.Logger = &mysql.NopLogger{} // the default one prints to stderr, which may be a pipe that nobody reads
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare a connection: %w", err)
	}
	db := sql.OpenDB(c)
	db.SetConnMaxIdleTime(time.Minute)
	return db, nil
}

// secure turns on TLS over a network: where the server has it, or always and verified if a CA is configured.
func secure(cfg *mysql.Config, login optionfile.Login) error {
	cfg.TLSConfig = "preferred"
	if login.CA == "" && login.Certificate == "" {
		return nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: strings.TrimSpace(hostOf(cfg.Addr))}
	if login.CA == "" {
		conf.InsecureSkipVerify = true //nolint:gosec // as the server's own client without ssl-ca
	} else {
		pem, err := os.ReadFile(login.CA)
		if err != nil {
			return fmt.Errorf("cannot read ssl-ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("cannot read ssl-ca %s: it holds no certificate", login.CA)
		}
	}
	if login.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(login.Certificate, login.Key)
		if err != nil {
			return fmt.Errorf("cannot read ssl-cert and ssl-key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	cfg.TLS = conf
	return nil
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

func address(e database.Endpoint) string {
	if e.Socket != "" {
		return e.Socket
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
}

// explain says what a person can do about a failed connection.
func explain(e database.Endpoint, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("cannot connect to %s as %s: %w", address(e), e.User, err)
	var answer *mysql.MySQLError
	hint := ""
	switch {
	case errors.As(err, &answer) && (answer.Number == 1045 || answer.Number == 1698 || answer.Number == 1044):
		hint = "create the account as docs/grants.md says and name its client option file in the configuration"
	case errors.As(err, &answer) && answer.Number == 1040:
		hint = "the server has no connection left: raise max_connections or close some"
	case errors.Is(err, fs.ErrNotExist):
		hint = "is the server running? there is no socket " + e.Socket
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "is the server running? nothing listens on " + address(e)
	case errors.Is(err, context.DeadlineExceeded):
		hint = "the server did not answer in time: is it overloaded, or is a firewall between?"
	default:
		return wrapped
	}
	return &hinted{wrapped, hint}
}

// absent reports that nothing listens at all: no socket file, or nobody behind it.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
