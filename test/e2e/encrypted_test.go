package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/tables"
)

// TestEncryptedServer backs up an encrypted server whose keyring lies where no snapshot is, and brings a table back by its files, from here and
// from the repository. The keyring stays as the server left it.
func TestEncryptedServer(t *testing.T) {
	l := labtest.New(t)
	keyring := filepath.Join(l.Dir(), "keys", "keyring")
	check(t, lab.MakeKeyring(keyring))
	build := must(must(lab.Find("mysql-9.7"))(t).WithKeyring(filepath.Join(l.Dir(), "bin"), keyring))(t)
	s := openIn(t, l, build, onBtrfs, "shop", lab.Spec{})
	s.stockedAt(filepath.Join(l.Dir(), "store"))
	check(t, s.server.Exec(t.Context(), "SET PERSIST innodb_redo_log_encrypt = ON", "SET PERSIST innodb_undo_log_encrypt = ON",
		"CREATE DATABASE vault DEFAULT ENCRYPTION 'Y'", "CREATE TABLE vault.secrets (id INT PRIMARY KEY, t VARCHAR(99))", "INSERT INTO vault.secrets VALUES (1, 'one'), (2, 'two')"))
	o := s.holdstill("--json", "backup").want(t, 0)
	p := &catalog.Point{}
	check(t, json.Unmarshal([]byte(o.stdout), p))
	if text := strings.Join(p.Warnings, " "); !strings.Contains(text, keyring+",") || p.Repository == nil {
		t.Errorf("warnings %q, repository %+v", p.Warnings, p.Repository)
	}
	check(t, s.server.Exec(t.Context(), "ALTER INSTANCE ROTATE INNODB MASTER KEY"))
	keys := string(must(os.ReadFile(keyring))(t))
	for _, from := range []string{"local", "repository"} {
		check(t, s.server.Exec(t.Context(), "DELETE FROM vault.secrets"))
		r := s.restoreTables(p.ID, "--table", "vault.secrets", "--local-only", "--from", from)
		if got := s.value("SELECT GROUP_CONCAT(t ORDER BY id) FROM vault.secrets"); got != "one,two" || r.Tables[0].Way != tables.Files {
			t.Errorf("from %s: %s, %+v", from, got, r.Tables)
		}
		s.noScratch(fmt.Sprint("from ", from))
	}
	if string(must(os.ReadFile(keyring))(t)) != keys {
		t.Error("the keyring was written to")
	}
}
