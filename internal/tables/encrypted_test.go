package tables_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/tables"
)

// TestEncryptedByItsFilesOnMySQL restores encrypted tables into a server with other keys: a transfer key comes with the files.
func TestEncryptedByItsFilesOnMySQL(t *testing.T) {
	l := labtest.New(t)
	// the point's server and the live one are two here, with a keyring each
	s := openWith(t, l, withKeyring(t, l, "a"), withKeyring(t, l, "b"))
	s.check(s.scratch.Exec(t.Context(), "CREATE DATABASE shop", "USE shop", "SET cte_max_recursion_depth = 10000",
		"CREATE TABLE orders (id INT PRIMARY KEY, t VARCHAR(200), KEY (t)) ENCRYPTION='Y'",
		"INSERT INTO orders WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i, CONCAT('"+words+"', i) FROM n",
		"CREATE TABLE parts (id INT PRIMARY KEY, t VARCHAR(200)) ENCRYPTION='Y' PARTITION BY HASH (id) PARTITIONS 2", "INSERT INTO parts SELECT * FROM orders WHERE id < 100",
		"CREATE TABLE packed (id INT PRIMARY KEY, t VARCHAR(200)) ENCRYPTION='Y' COMPRESSION='zlib'", "INSERT INTO packed SELECT * FROM orders",
		"CREATE DATABASE vault DEFAULT ENCRYPTION 'Y'", "CREATE TABLE vault.secrets SELECT * FROM orders", "CREATE TABLE vault.open (id INT PRIMARY KEY) ENCRYPTION='N'"))
	s.check(s.live.Exec(t.Context(), "ALTER INSTANCE ROTATE INNODB MASTER KEY", "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY)"))
	// as strict as a server can be, with the account of docs/grants.md
	s.check(s.live.Exec(t.Context(), "SET GLOBAL table_encryption_privilege_check = ON", "SET GLOBAL default_table_encryption = ON"))
	s.asAccount(s.live.Build)
	for _, db := range []string{"shop", "vault"} {
		want := map[schema.Name]string{}
		held, err := schema.Read(t.Context(), s.source.DB)
		s.check(err)
		for _, table := range held.Database(db).Tables {
			want[table.FullName()] = s.picture(s.scratch, table.FullName())
		}
		for _, one := range s.restore(tables.Request{Database: db}).Tables {
			got := s.picture(s.live, one.To)
			if got != want[one.From] || one.Way != tables.Files {
				t.Errorf("by %s (%s) %s is\n%s\nand was\n%s", one.Way, one.Reason, one.To, got, want[one.From])
			}
		}
	}
	if got := s.value(s.live, "SELECT DEFAULT_ENCRYPTION FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'vault'"); got != "YES" {
		t.Errorf("new tables of the database are encrypted: %s", got)
	}
	s.check(s.live.Exec(t.Context(), "ALTER INSTANCE ROTATE INNODB MASTER KEY"))
	s.check(s.live.Stop(t.Context()))
	s.check(s.live.Start(t.Context()))
	if got := s.value(s.live, "SELECT COUNT(*) FROM vault.secrets"); got != "3000" {
		t.Errorf("after a restart there are %s rows", got)
	}
	packed, err := os.Stat(filepath.Join(s.live.Datadir, "shop", "packed.ibd"))
	s.check(err)
	if on := packed.Sys().(*syscall.Stat_t).Blocks * 512; on >= packed.Size() {
		t.Errorf("the compressed table takes %d bytes of %d: it lost its holes", on, packed.Size())
	}
	files, _ := filepath.Glob(filepath.Join(s.live.Datadir, "*", "*.ibd"))
	for _, f := range files {
		content, err := os.ReadFile(f)
		s.check(err)
		if strings.Contains(string(content), words) {
			t.Errorf("%s is not encrypted", f)
		}
	}
}

// withKeyring is MySQL with a keyring of its own.
func withKeyring(t *testing.T, l *lab.Lab, name string) lab.Build {
	t.Helper()
	b, err := lab.Find("mysql-9.7")
	file := filepath.Join(l.Dir(), name+".keys", "keyring")
	if err == nil {
		err = lab.MakeKeyring(file)
	}
	if err == nil {
		b, err = b.WithKeyring(filepath.Join(l.Dir(), name+".bin"), file)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// words are what nobody may read in a file.
const words = "words that nobody may read"
