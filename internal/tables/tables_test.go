package tables_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/tables"
)

// more is what the zoo lacks: columns and partitions that came later, and rows in them.
func more(b lab.Build) []string {
	out := []string{"USE zoo",
		"CREATE TABLE grown (id INT PRIMARY KEY AUTO_INCREMENT, t VARCHAR(20))", "INSERT INTO grown (t) VALUES ('a'), ('b')",
		"ALTER TABLE grown ADD COLUMN late INT NOT NULL DEFAULT 7", "INSERT INTO grown (t, late) VALUES ('c', 8)",
		"CREATE TABLE redundant (id INT PRIMARY KEY, t VARCHAR(20)) ROW_FORMAT=REDUNDANT", "INSERT INTO redundant VALUES (1, 'x')",
		"CREATE TABLE subparts (id INT, y INT, PRIMARY KEY (id, y)) PARTITION BY RANGE (y) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 " +
			"(PARTITION p0 VALUES LESS THAN (10), PARTITION Pmax VALUES LESS THAN MAXVALUE)",
		"INSERT INTO subparts VALUES (1, 1), (2, 1), (3, 99), (4, 99)",
	}
	switch {
	case b.Product == lab.MariaDB:
		return append(out, "ALTER TABLE grown DROP COLUMN t", "CREATE TABLE pages (id INT PRIMARY KEY, t TEXT) PAGE_COMPRESSED=1", "INSERT INTO pages VALUES (1, REPEAT('x', 9000))",
			"CREATE TABLE dynamic (id INT PRIMARY KEY, t TEXT) ENGINE=Aria TRANSACTIONAL=0 ROW_FORMAT=DYNAMIC", "INSERT INTO dynamic VALUES (1, 'x')")
	case b.AtLeast(8, 0):
		return append(out, "ALTER TABLE grown DROP COLUMN t, ALGORITHM=INSTANT", "CREATE TABLE pages (id INT PRIMARY KEY, t TEXT) COMPRESSION='zlib'", "INSERT INTO pages VALUES (1, REPEAT('x', 9000))",
			"CREATE TABLESPACE common ADD DATAFILE 'common.ibd'", "CREATE TABLE within (id INT PRIMARY KEY) TABLESPACE common", "INSERT INTO within VALUES (1)",
			"CREATE TABLE arrays (id INT PRIMARY KEY, j JSON, KEY k ((CAST(j AS UNSIGNED ARRAY))))", "INSERT INTO arrays VALUES (1, '[1, 2]')")
	}
	return out
}

// TestEveryKindOfTable restores two databases with every kind of table, first where nothing is and then over what is there, and compares.
func TestEveryKindOfTable(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build)
		s.check(s.scratch.Exec(t.Context(), append(labtest.ZooStatements(build), more(build)...)...))
		held, err := schema.Read(t.Context(), s.source.DB)
		s.check(err)
		pictures := map[schema.Name]string{}
		for _, d := range held.Databases {
			for _, table := range d.Tables {
				if table.Kind != schema.View {
					pictures[table.FullName()] = s.picture(s.scratch, table.FullName())
				}
			}
		}
		s.check(s.live.Exec(t.Context(), "CREATE DATABASE zoo", "CREATE TABLE zoo.many (a INT)", "CREATE TABLE zoo.young (a INT)",
			"CREATE TRIGGER zoo.trg BEFORE INSERT ON zoo.many FOR EACH ROW SET NEW.a = 1"))
		restored := 0
		for _, db := range []string{labtest.Zoo, labtest.OddZoo} {
			for _, one := range s.restore(tables.Request{Database: db}).Tables {
				restored++
				// a table of a shared tablespace gets a file of its own
				if got := strings.Replace(s.picture(s.live, one.To), "`innodb_file_per_table`", "`common`", 1); got != pictures[one.From] {
					t.Errorf("%s (%s) is\n%s\nand was\n%s", one.To, one.Way, got, pictures[one.From])
				}
				if one.Way == tables.Load {
					t.Errorf("%s was loaded: %s", one.To, one.Reason)
				}
			}
		}
		if restored != len(pictures) {
			t.Errorf("%d of %d tables were restored", restored, len(pictures))
		}
		if got := s.value(s.live, "SELECT COUNT(*) FROM zoo.a_v") + s.value(s.live, "SELECT zoo.twice(4)") + s.value(s.live, "SELECT COUNT(*) FROM zoo.young"); !strings.HasSuffix(got, "80") {
			t.Errorf("the views, routines and younger tables say %s", got)
		}
		if got := s.value(s.live, "SELECT COUNT(*) FROM zoo.types WHERE MATCH (tx) AGAINST ('line')"); got != s.value(s.live, "SELECT COUNT(*) FROM zoo.types WHERE tx LIKE '%line%'") {
			t.Errorf("the full-text index finds %s", got)
		}
	})
}

// TestWhileOthersWrite restores tables while others are written to, and wants them to notice nothing; with no more privileges than docs/grants.md says.
func TestWhileOthersWrite(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build)
		make := []string{"CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, t VARCHAR(200), KEY (t))",
			"INSERT INTO shop.orders (t) VALUES ('a'), ('b'), ('c'), ('d')"}
		s.check(s.live.Exec(t.Context(), append(make, "USE shop", "CREATE VIEW v AS SELECT 1 AS a", "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
			"CREATE EVENT e ON SCHEDULE EVERY 1 DAY COMMENT 'old' DO DELETE FROM orders WHERE id < 0")...))
		for range 7 {
			make = append(make, "INSERT INTO shop.orders (t) SELECT CONCAT(a.t, RAND()) FROM shop.orders a, (SELECT 1 UNION SELECT 2 UNION SELECT 3) b")
		}
		s.check(s.scratch.Exec(t.Context(), append(make, "USE shop", "CREATE VIEW v AS SELECT id FROM orders", "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 7",
			"CREATE TRIGGER big BEFORE INSERT ON orders FOR EACH ROW SET NEW.t = UPPER(NEW.t)", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM orders WHERE id < 0")...))
		writer, err := s.live.Write(t.Context(), lab.WriterOptions{Table: "other.writes", Workers: 3, Pause: time.Millisecond})
		s.check(err)
		orders := schema.Name{Database: "shop", Table: "orders"}
		want := s.picture(s.scratch, orders)
		s.asAccount(build)
		r := s.restore(tables.Request{Database: "shop"})
		s.check(s.live.Exec(t.Context(), r.Swap.Confirm))
		if got := strings.Join(r.Swap.Code, ", "); got != "function shop.f, view shop.v, event shop.e" {
			t.Errorf("the code that was replaced is %s", got)
		}
		if got := s.picture(s.live, orders); got != want {
			t.Errorf("is\n%s\nand was\n%s", got, want)
		}
		labtest.Undisturbed(t, writer.Stop())
		if got := s.value(s.live, "SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'shop' AND DEFINER = 'root@localhost'") + s.value(s.live, "SELECT shop.f()"); got != "17" {
			t.Errorf("the event and the function say %s", got)
		}
	})
}

// TestRefusedBeforeAnythingIsTouched tries what must be told before the live server is touched.
func TestRefusedBeforeAnythingIsTouched(t *testing.T) {
	build, err := lab.Find("mysql-9.7") // the rules are the same
	if err != nil {
		t.Fatal(err)
	}
	l := labtest.New(t)
	s := openWith(t, l, withKeyring(t, l, "point"), build)
	make := []string{"CREATE DATABASE shop", "CREATE TABLE shop.parent (id INT PRIMARY KEY)", "CREATE TABLE shop.child (id INT PRIMARY KEY, CONSTRAINT fk FOREIGN KEY (id) REFERENCES shop.parent (id))",
		"CREATE VIEW shop.v AS SELECT * FROM shop.parent"}
	s.check(s.scratch.Exec(t.Context(), append(make, "CREATE DATABASE other", "CREATE VIEW other.v AS SELECT 1 AS a", "CREATE TABLE shop.secrets (id INT PRIMARY KEY) ENCRYPTION='Y'", "CREATE DATABASE gone", "CREATE TABLE gone.t (id INT PRIMARY KEY, CONSTRAINT far FOREIGN KEY (id) REFERENCES shop.parent (id))")...))
	s.check(s.live.Exec(t.Context(), append(make, "CREATE DATABASE other", "CREATE TABLE other.v (a INT)")...))
	name := func(table string) []schema.Name { return []schema.Name{{Database: "shop", Table: table}} }
	for want, r := range map[string]tables.Request{
		"there is no table shop.nothing":   {Tables: name("nothing")},
		"no database nowhere":              {Database: "nowhere"},
		"other.v is to be a view":          {Database: "other"},
		"fk of shop.child, which stays":    {Tables: name("parent")},
		"shop.child exists on live":        {Tables: name("parent"), As: schema.Name{Database: "shop", Table: "child"}},
		"is a view":                        {Tables: name("v")},
		"live has no keyring":              {Tables: name("secrets")},
		"encrypted, and live has no key":   {Tables: name("secrets"), Way: tables.Load},
		"has no database gone":             {Tables: []schema.Name{{Database: "gone", Table: "t"}}},
		"the database shop exists on live": {Database: "gone", As: schema.Name{Database: "shop"}},
		"one new name":                     {Tables: append(name("parent"), name("child")...), As: schema.Name{Database: "shop", Table: "x"}},
	} {
		run := s.begin()
		r.LocalOnly = true
		_, err := tables.Restore(t.Context(), run, r, s.source, s.target, quiet)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		s.check(errors.Join(run.Unwind(t.Context()), run.End()))
		s.clean()
	}
}

// TestEncryptedByItsFiles restores an encrypted table into a server that has the key.
func TestEncryptedByItsFiles(t *testing.T) {
	build, err := lab.Find("mariadb-10.11")
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys")
	for dir := filepath.Dir(keys); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) { // the server is not root
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(keys, []byte("1;"+strings.Repeat("0123456789abcdef", 4)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, build, "plugin_load_add = file_key_management", "file_key_management_filename = "+keys)
	words := "'words that nobody may read'"
	s.check(s.scratch.Exec(t.Context(), "CREATE DATABASE shop", "USE shop", "CREATE TABLE orders (id INT PRIMARY KEY, t VARCHAR(200), KEY (t)) ENCRYPTED=YES",
		"INSERT INTO orders SELECT seq, CONCAT("+words+", seq) FROM seq_1_to_5000"))
	// the live server is ahead of the point, as servers are: MariaDB refuses encrypted pages that are ahead of its own log
	s.check(s.live.Exec(t.Context(), "CREATE DATABASE shop", "USE shop", "CREATE TABLE busy (id INT PRIMARY KEY, t VARCHAR(500))", "INSERT INTO busy SELECT seq, REPEAT('x', 500) FROM seq_1_to_20000"))
	orders := schema.Name{Database: "shop", Table: "orders"}
	want := s.picture(s.scratch, orders)
	r := s.restore(tables.Request{Tables: []schema.Name{orders}})
	if got := s.picture(s.live, orders); got != want || r.Tables[0].Way != tables.Files {
		t.Errorf("by %s (%s) it is\n%s\nand was\n%s", r.Tables[0].Way, r.Tables[0].Reason, got, want)
	}
	file, err := os.ReadFile(filepath.Join(s.live.Datadir, "shop", "orders.ibd"))
	s.check(err)
	if len(file) < 100<<10 || strings.Contains(string(file), strings.Trim(words, "'")) {
		t.Errorf("the live file, of %d bytes, is not encrypted", len(file))
	}
}
