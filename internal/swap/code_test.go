package swap_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// said is what the code of the database says: a function, a procedure, a view and an event.
func (s *scene) said() string {
	s.Helper()
	return strings.Join([]string{s.value("SELECT shop.f()"), s.value("SELECT ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'shop' AND ROUTINE_NAME = 'p'"),
		s.value("SELECT a FROM shop.v"), s.value("SELECT EVENT_COMMENT FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'shop'")}, ", ")
}

// TestOldCodeIsNotLost replaces code, one of which cannot be made: the old one of that stays, and of the others it is kept as a script, also when
// a later process finishes.
func TestOldCodeIsNotLost(t *testing.T) {
	s := open(t, one(t, "mariadb-10.11"))
	s.live.Replaced = filepath.Join(s.dir, "replaced")
	s.exec(shop, "USE shop", "CREATE FUNCTION f() RETURNS VARCHAR(9) DETERMINISTIC RETURN 'old $$ f'", "CREATE PROCEDURE p() BEGIN SELECT 'old p;'; END", "CREATE VIEW v AS SELECT 'old v' AS a",
		"CREATE EVENT e ON SCHEDULE EVERY 1 YEAR COMMENT 'old e' DO DELETE FROM nothing", "CREATE FUNCTION same() RETURNS INT DETERMINISTIC RETURN 7")
	before := s.said()
	var code []swap.Code
	for _, one := range [][2]string{{"FUNCTION", "f"}, {"PROCEDURE", "p"}, {"VIEW", "v"}, {"EVENT", "e"}, {"FUNCTION", "same"}} {
		c, err := swap.ReadCode(t.Context(), s.live.DB, one[0], schema.Name{Database: "shop", Table: one[1]}, "shop")
		s.check(err)
		c.Create = strings.ReplaceAll(c.Create, "'old ", "'new ")
		code = append(code, c)
	}
	broken := code[1].Create
	code[1].Create = strings.Replace(broken, "BEGIN", "BEGIN NO SQL", 1)
	run := s.begin("20261122-130010-abcdef")
	staging, err := swap.Stage(t.Context(), run, s.live)
	s.check(err)
	_, err = staging.Swap(t.Context(), nil, code...)
	staging.Close()
	if got := s.said(); err == nil || !strings.Contains(err.Error(), "the old one is made again") || got != "new $$ f, BEGIN SELECT 'old p;'; END, new v, new e" {
		t.Errorf("after a failure the code says %s: %v", got, err)
	}
	file := filepath.Join(s.live.Replaced, run.ID+".sql")
	s.check(os.Remove(file))
	if err := run.Unwind(t.Context()); err == nil { // as a later process: it keeps the script too
		t.Error("the procedure was made")
	}
	script, err := os.Open(file)
	s.check(err)
	defer script.Close()
	client := exec.Command(s.server.Build.Client, "--no-defaults", "--socket="+s.server.Socket, "--user=root")
	client.Stdin = script
	if said, err := client.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if got := s.said(); got != before {
		t.Errorf("the script made %s of %s", got, before)
	}

	code[1].Create = broken
	s.live.Replaced = filepath.Join(s.dir, "again")
	run = s.begin("20261122-130011-abcdef")
	staging, err = swap.Stage(t.Context(), run, s.live)
	s.check(err)
	r, err := staging.Swap(t.Context(), nil, code...)
	s.check(err)
	s.check(run.End())
	if got := strings.Join(r.Code, ", "); got != "function shop.f, procedure shop.p, view shop.v, event shop.e" || r.CodeFile != filepath.Join(s.live.Replaced, run.ID+".sql") {
		t.Errorf("told are %s in %s", got, r.CodeFile)
	}
}

// TestADatabaseWithSomethingStays makes two databases and takes the run back, as after a kill: what one of them holds is somebody's only one.
func TestADatabaseWithSomethingStays(t *testing.T) {
	s := open(t, one(t, "mysql-9.7"))
	run := s.begin("20261122-130012-abcdef")
	staging, err := swap.Stage(t.Context(), run, s.live)
	s.check(err)
	for _, name := range []string{"nothing", "routines", "events"} {
		s.check(staging.MakeDatabase(t.Context(), &schema.Database{Name: name, Charset: "utf8mb4", Collation: "utf8mb4_bin"}))
	}
	s.exec("CREATE PROCEDURE routines.p() SELECT 1", "CREATE EVENT events.e ON SCHEDULE EVERY 1 YEAR DO SELECT 1")
	staging.Close()
	s.check(run.Unwind(t.Context()))
	s.clean(run)
	if got := s.value("SELECT GROUP_CONCAT(SCHEMA_NAME ORDER BY SCHEMA_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN ('nothing', 'routines', 'events')"); got != "events,routines" {
		t.Errorf("left are %s", got)
	}
}

// TestViewsUnderAnotherDatabase moves views in whose text the database's name is something else too.
func TestViewsUnderAnotherDatabase(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build)
		s.exec(shop, "CREATE DATABASE `the$1``copy`", "CREATE DATABASE other", "CREATE TABLE other.t (id INT)", "INSERT INTO other.t VALUES (1)", "USE shop",
			"CREATE TABLE orders (id INT)", "CREATE TABLE `the$1``copy`.orders (id INT)", "INSERT INTO `the$1``copy`.orders VALUES (1), (2)",
			"CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1", "CREATE FUNCTION `the$1``copy`.f() RETURNS INT DETERMINISTIC RETURN 2",
			"CREATE VIEW alias AS SELECT shop.id FROM orders AS shop", "CREATE VIEW calls AS SELECT f() AS id, 'in `shop`.' AS t FROM orders",
			"CREATE VIEW mixed AS SELECT orders.id FROM orders JOIN other.t ON orders.id = t.id", "CREATE VIEW unclear AS SELECT shop.id FROM orders AS shop JOIN other.t ON shop.id = t.id")
		conn, err := s.live.DB.Conn(t.Context())
		s.check(err)
		defer conn.Close()
		run := s.begin("20261122-130013-abcdef")
		staging, err := swap.Stage(t.Context(), run, s.live)
		s.check(err)
		defer staging.Close()
		var code []swap.Code
		for _, name := range []string{"alias", "calls", "mixed"} {
			c, err := swap.ReadCode(t.Context(), conn, "VIEW", schema.Name{Database: "shop", Table: name}, "the$1`copy")
			s.check(err)
			code = append(code, c)
		}
		if unclear, err := swap.ReadCode(t.Context(), conn, "VIEW", schema.Name{Database: "shop", Table: "unclear"}, "the$1`copy"); err == nil && strings.Contains(unclear.Create, "`shop`.`orders`") || err != nil && !strings.Contains(err.Error(), "other databases too") {
			t.Errorf("the unclear view: %v %s", err, unclear.Create) // MySQL never names the own database
		}
		_, err = staging.Swap(t.Context(), nil, code...)
		s.check(err)
		s.clean(run)
		in := "FROM `the$1``copy`."
		if got := s.value("SELECT COUNT(*) "+in+"alias") + s.value("SELECT CONCAT(MAX(id), MAX(t)) "+in+"calls") + s.value("SELECT COUNT(*) "+in+"mixed"); got != "22in `shop`.1" {
			t.Errorf("the views say %s", got)
		}
	})
}
