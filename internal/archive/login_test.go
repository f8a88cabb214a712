package archive

import (
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
)

// Who the server knows by his uid gets in over the socket, whether it asks at once or after it has refused a password.
func TestLoginByUID(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build)
		if build.Product == lab.MySQL {
			s.sql("INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'", "CREATE USER asked@localhost IDENTIFIED WITH auth_socket AS 'root'",
				"CREATE USER stranger@localhost IDENTIFIED WITH auth_socket AS 'nobody'",
				"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO asked@localhost, stranger@localhost")
			s.once(Source{Socket: s.Socket, User: "asked"})
			s.whole()
		} else { // as its packages make root; the user must be called so before 11
			s.sql("CREATE USER stranger@localhost IDENTIFIED VIA unix_socket")
			for _, by := range []string{"unix_socket", "mysql_native_password USING 'invalid' OR unix_socket"} {
				s.sql("ALTER USER root@localhost IDENTIFIED VIA " + by)
				s.once()
				s.whole()
			}
		}
		o := s.options(Source{Socket: s.Socket, User: "stranger"})
		o.Once = true
		if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "Access denied") {
			t.Errorf("a stranger: %v", err)
		}
	})
}
