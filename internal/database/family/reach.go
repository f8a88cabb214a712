package family

import (
	"crypto/tls"
	"net"
	"strconv"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/database"
)

// Reach is all that it takes to log in, for those who speak another protocol than SQL to a server. It is never printed.
type Reach struct {
	Socket, Host   string
	Port           int
	User, Password string
	TLS            *tls.Config // nil over a socket
	Lenient        bool        // without TLS where the server has none
}

// ReachOf completes an endpoint with what its client option file says.
func ReachOf(e database.Endpoint) (Reach, error) {
	e, login, err := complete(e)
	if err != nil {
		return Reach{}, err
	}
	r := Reach{Socket: e.Socket, Host: e.Host, Port: e.Port, User: e.User, Password: login.Password}
	if e.Socket != "" {
		return r, nil
	}
	cfg := mysql.NewConfig()
	cfg.Addr = net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
	if err := secure(cfg, login); err != nil {
		return Reach{}, err
	}
	if r.TLS = cfg.TLS; r.TLS == nil {
		r.TLS, r.Lenient = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, true //nolint:gosec // as the server's own client without ssl-ca
	}
	return r, nil
}
