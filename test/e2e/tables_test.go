package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/tables"
)

// orders are two tables that refer to each other, one with a trigger, and a point of them; after it they are ruined.
func orders(t *testing.T, build lab.Build) (*shop, *catalog.Point) {
	t.Helper()
	s := open(t, build, onBtrfs)
	check(t, s.server.Exec(t.Context(), "CREATE DATABASE sales", "USE sales", "CREATE TABLE log (what VARCHAR(50))",
		"CREATE TABLE orders (id INT PRIMARY KEY, what VARCHAR(50), FULLTEXT KEY (what))",
		"CREATE TABLE items (id INT PRIMARY KEY, o INT, CONSTRAINT ordered FOREIGN KEY (o) REFERENCES orders (id))",
		"CREATE TRIGGER told AFTER INSERT ON orders FOR EACH ROW INSERT INTO log VALUES ('told')",
		"INSERT INTO orders VALUES (1, 'tea'), (2, 'coffee and cake')", "INSERT INTO items VALUES (1, 1), (2, 2)"))
	if build.Product == lab.MariaDB {
		check(t, s.server.Exec(t.Context(), "USE sales", "CREATE TABLE measured (id INT PRIMARY KEY, f FLOAT)", "INSERT INTO measured VALUES (1, 16777216)", "CREATE SEQUENCE numbers", "CREATE TABLE numbered (id INT DEFAULT NEXTVAL(numbers), t INT)", "INSERT INTO numbered (t) VALUES (1)"))
	}
	p := s.backup()
	check(t, s.server.Exec(t.Context(), "USE sales", "INSERT INTO orders VALUES (3, 'the last good one')"))
	return s, p
}

func (s *shop) ruin() {
	s.t.Helper()
	check(s.t, s.server.Exec(s.t.Context(), "USE sales", "DELETE FROM items", "DELETE FROM orders WHERE id < 3"))
}

// sold is both tables, as text.
func (s *shop) sold() string {
	return s.value("SELECT CONCAT((SELECT COALESCE(GROUP_CONCAT(id ORDER BY id), '') FROM sales.orders), ' / ', (SELECT COALESCE(GROUP_CONCAT(id ORDER BY id), '') FROM sales.items))")
}

func (s *shop) restoreTables(args ...string) *tables.Result {
	s.t.Helper()
	o := s.holdstill(append([]string{"--json", "restore", "--scratch-dir", s.scratchDir()}, args...)...).want(s.t, 0)
	r := &tables.Result{}
	check(s.t, json.Unmarshal([]byte(o.stdout), r))
	return r
}

// TestTablesComeBack restores two tables at a point and at a moment after it, over the ruined ones and beside them, while others are written to.
func TestTablesComeBack(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s, p := orders(t, build)
		file, offset := binlogEnd(t, s.server.Socket)
		s.ruin()
		writer := must(s.server.Write(t.Context(), lab.WriterOptions{Table: "other.writes", Workers: 2, Pause: time.Millisecond}))(t)

		r := s.restoreTables(p.ID, "--table", "sales.orders", "--table", "sales.items", "--into", "shop", "--local-only")
		if got := s.sold(); got != "1,2 / 1,2" || len(r.Swap.Aside) != 2 || r.Tables[0].Way != tables.Files {
			t.Errorf("the point's tables are %s: %+v", got, r)
		}
		check(t, s.server.Exec(t.Context(), append([]string{"SET foreign_key_checks = 0, lock_wait_timeout = 30"}, r.Swap.Back...)...))
		if got := s.sold(); got != "3 / " {
			t.Errorf("going back gave %s", got)
		}
		s.restoreTables("--instance", "shop", "--table", "sales.orders", "--table", "sales.items", "--local-only", "--binlogs", s.server.Datadir,
			"--until-position", fmt.Sprintf("%s:%d", file, offset))
		if got := s.sold(); got != "1,2,3 / 1,2" {
			t.Errorf("the moment's tables are %s", got)
		}
		if build.Product == lab.MariaDB { // what follows is the same on both, and takes a scratch server each time
			s.otherWays(p)
			s.refused(p)
		}
		labtest.Undisturbed(t, writer.Stop())
		s.tidy()
	})
}

// otherWays restores through the binary log, and beside the live tables.
func (s *shop) otherWays(p *catalog.Point) {
	s.t.Helper()
	logged := s.restoreTables(p.ID, "--table", "sales.items", "--table", "sales.orders") // through the binary log
	if got := s.sold(); got != "1,2 / 1,2" || logged.Tables[0].Way != tables.Load || !strings.Contains(logged.Tables[0].Reason, "binary log") {
		s.t.Errorf("the loaded tables are %s: %+v", got, logged)
	}
	if r := s.restoreTables(p.ID, "--table", "sales.measured"); !strings.Contains(strings.Join(r.Warnings, " "), "FLOAT columns of sales.measured with six digits (f)") {
		s.t.Errorf("that a dump rounds is not told: %v", r.Warnings)
	}
	s.restoreTables(p.ID, "--table", "sales.items", "--as", "other.items", "--local-only")
	s.restoreTables(p.ID, "--database", "sales", "--as", "sales copy")
	if got := s.value("SELECT COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'sales copy' AND TABLE_NAME = 'numbered' AND COLUMN_NAME = 'id'"); !strings.Contains(got, "`sales copy`") {
		s.t.Errorf("the copy takes its numbers by %s", got)
	}
	// beside the live tables, where the names of their trigger and foreign key are taken
	s.restoreTables(p.ID, "--table", "sales.items", "--as", "sales.items_then", "--local-only")
	if r := s.restoreTables(p.ID, "--table", "sales.orders", "--as", "sales.orders_then", "--local-only"); len(r.Warnings) != 2 || !strings.Contains(r.Warnings[1], "told") && !strings.Contains(r.Warnings[0], "told") {
		s.t.Errorf("the trigger that is left out is not told: %v", r.Warnings)
	}
	if err := s.server.Exec(s.t.Context(), "SET SESSION foreign_key_checks = 1", "INSERT INTO sales.items_then VALUES (9, 99)"); err == nil {
		s.t.Error("the foreign key of the copy is missing")
	}
	if got := s.value("SELECT COUNT(*) FROM `sales copy`.orders") + s.value("SELECT COUNT(*) FROM other.items"); got != "22" {
		s.t.Errorf("the copies have %s rows", got)
	}
}

// refused tries what must be told before anything is touched, with its exit code.
func (s *shop) refused(p *catalog.Point) {
	s.t.Helper()
	for _, refused := range []struct {
		code int
		says string
		args []string
	}{
		{4, "there is no table sales.nothing", []string{"--table", "sales.nothing"}},
		{2, "which stays", []string{"--table", "sales.orders"}},
		{2, "no name of a database or table", []string{"--table", "sales"}},
		{2, "other.items exists", []string{"--table", "sales.items", "--as", "other.items"}},
		{2, "not both", []string{"--table", "sales.items", "--database", "sales"}},
		{2, "there is no instance", []string{"--table", "sales.items", "--into", "nowhere"}},
	} {
		o := s.holdstill(append([]string{"restore", p.ID, "--local-only", "--scratch-dir", s.scratchDir()}, refused.args...)...).want(s.t, refused.code)
		contains(s.t, o.stderr, refused.says)
	}
}

// tidy wants nothing of ours but replaced tables.
func (s *shop) tidy() {
	s.t.Helper()
	if found := s.value("SELECT GROUP_CONCAT(SCHEMA_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'holdstill\\_new%' OR SCHEMA_NAME LIKE 'holdstill\\_load%'"); found != "" {
		s.t.Errorf("left behind: %s", found)
	}
	if found := s.value("SELECT GROUP_CONCAT(TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_NAME LIKE 'holdstill\\_%'"); found != "" {
		s.t.Errorf("left behind: %s", found)
	}
	if dirs := append(must(filepath.Glob(filepath.Join(s.server.Datadir, "holdstill_new*")))(s.t), must(filepath.Glob(filepath.Join(s.scratchDir(), "holdstill-*")))(s.t)...); len(dirs) > 0 {
		s.t.Errorf("left behind: %v", dirs)
	}
	if runs := names(s.t, filepath.Join(s.state, "runs")); len(runs) > 0 {
		s.t.Errorf("ledgers are left: %v", runs)
	}
}

// TestFaultsOfTables kills a restore of tables at every boundary: after a recover the tables are the old ones or the new ones, with all that
// belongs to them, and nothing else is left. By files on one product all of it, else what is the server's own: the rest is the same.
func TestFaultsOfTables(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s, p := orders(t, build)
		s.ruin()
		args := []string{"restore", p.ID, "--scratch-dir", s.scratchDir(), "--table", "sales.orders", "--table", "sales.items"}
		byFiles := append(slices.Clone(args), "--local-only")
		if build.Product == lab.MySQL {
			s.killAt(t, []string{"tables.copied", "swap.acted", "finish.trigger:kill:4"}, byFiles)
			s.backupAfterKills("finish.trigger:kill:3", byFiles)
			return
		}
		boundaries := slices.DeleteFunc(s.passes(byFiles...), func(b string) bool {
			stage, moment, _ := strings.Cut(b, ".")
			early := moment == "promise" || moment == "act" && stage != "swap"                         // nothing is done yet
			elsewhere := []string{"place", "branch", "config", "scratch", "server", "facts", "ledger"} // TestFaultsOfAScratchServer
			return early || moment == "undone" || b == "swap.undo" || slices.Contains(elsewhere, stage)
		})
		boundaries = append(boundaries, "finish.trigger:kill:3") // in the middle of the statements by which the triggers get their names
		s.killAt(t, boundaries, byFiles)
		s.killAt(t, []string{"tables.loaded", "swap.acted"}, args)
		s.backupAfterKills("finish.trigger:kill:3", byFiles)
	})
}

func (s *shop) killAt(t *testing.T, boundaries, args []string) {
	outcomes := map[string]int{}
	for _, boundary := range boundaries {
		s.again()
		o := s.withFault(boundary+killed(boundary), args...)
		if o.code != -1 {
			t.Errorf("%s: the kill did not happen: exit code %d\n%s", boundary, o.code, o.stderr)
		}
		before := s.sold() // whoever asks before the recover sees tables too
		s.holdstill("recover").want(t, 0)
		got := s.sold()
		if got != before || got != "3 / " && got != "1,2 / 1,2" {
			t.Errorf("%s: the tables are %s, before the recover %s", boundary, got, before)
		}
		outcomes[got]++
		if triggers := s.value("SELECT GROUP_CONCAT(TRIGGER_NAME) FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = 'sales' AND EVENT_OBJECT_TABLE = 'orders'"); triggers != "told" {
			t.Errorf("%s: orders has the triggers %s", boundary, triggers)
		}
		if keys := s.value("SELECT GROUP_CONCAT(CONCAT(UNIQUE_CONSTRAINT_SCHEMA, '.', REFERENCED_TABLE_NAME)) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'sales'"); keys != "sales.orders" {
			t.Errorf("%s: items has the foreign keys %s", boundary, keys)
		}
		s.tidy()
		if t.Failed() {
			t.Fatal(o.stderr)
		}
	}
	t.Logf("%d faults injected: %v", len(boundaries), outcomes)
}

// backupAfterKills kills a restore in its swap, and takes a backup at once: the point has the new tables with all that belongs to them.
func (s *shop) backupAfterKills(boundary string, args []string) {
	s.t.Helper()
	s.again()
	if o := s.withFault(boundary+killed(boundary), args...); o.code != -1 {
		s.t.Fatalf("%s: the kill did not happen: exit code %d\n%s", boundary, o.code, o.stderr)
	}
	query := "SELECT CONCAT((SELECT GROUP_CONCAT(TRIGGER_NAME) FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = 'sales' AND EVENT_OBJECT_TABLE = 'orders'), " +
		"(SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME LIKE 'holdstill\\_%' OR TABLE_SCHEMA LIKE 'holdstill\\_new%'), (SELECT GROUP_CONCAT(id) FROM sales.orders))"
	if torn := s.value(query); torn == "told01,2" {
		s.t.Errorf("%s: the kill left nothing to take back", boundary)
	}
	p := s.backup()
	if got := s.holdstill("query", p.ID, query, "--format", "csv", "--scratch-dir", s.scratchDir()).want(s.t, 0); !strings.Contains(got.stdout, "told01,2") {
		s.t.Errorf("%s: the point has %s", boundary, got.stdout)
	}
	s.tidy()
}

func killed(boundary string) string {
	if strings.Contains(boundary, ":") {
		return ""
	}
	return ":kill"
}

// again makes the ruined tables the live ones once more, and drops what was kept aside.
func (s *shop) again() {
	s.t.Helper()
	db := root(s.t, s.server.Socket)
	defer db.Close()
	rows := must(db.Query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'holdstill\\_old%'"))(s.t)
	defer rows.Close()
	for rows.Next() {
		var name string
		check(s.t, rows.Scan(&name))
		check(s.t, s.server.Exec(s.t.Context(), "SET foreign_key_checks = 0", "DROP DATABASE `"+name+"`"))
	}
	check(s.t, s.server.Exec(s.t.Context(), "USE sales", "DELETE FROM items", "DELETE FROM orders", "INSERT INTO orders VALUES (3, 'the last good one')"))
}
