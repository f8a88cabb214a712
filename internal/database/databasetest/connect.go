package databasetest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/database"
)

// testConnect: what cannot be reached is said with what to do, and never with the password.
func (f *fixture) testConnect(t *testing.T) {
	f.account(t)
	bad := f.endpoint(t)
	bad.User = "nobody"
	for name, e := range map[string]database.Endpoint{
		"no socket":     {Socket: filepath.Join(t.TempDir(), "none.sock")},
		"no listener":   {Host: "127.0.0.1", Port: 9},
		"access denied": bad,
	} {
		_, err := f.Open(t.Context(), e)
		var hint interface{ Hint() string }
		if !errors.As(err, &hint) || hint.Hint() == "" {
			t.Errorf("%s: no hint in %v", name, err)
			continue
		}
		t.Logf("%v: %s", err, hint.Hint())
		if strings.Contains(err.Error()+hint.Hint(), "secret") {
			t.Error("the password is in an error")
		}
	}
	tcp := database.Endpoint{Host: "127.0.0.1", Port: f.middle.Port}
	must(t, f.middle.Exec(t.Context(), "CREATE USER IF NOT EXISTS tcp@'%' IDENTIFIED BY 'over'", "GRANT PROCESS ON *.* TO tcp@'%'"))
	tcp.OptionFile = writeClient(t, "[client]\nuser=tcp\npassword=over\n")
	must(t, f.as(t, tcp).Ping(t.Context()))
}

func writeClient(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tcp.cnf")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
