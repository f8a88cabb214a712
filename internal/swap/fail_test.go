package swap_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
	"github.com/holdstill/holdstill/internal/undo"
)

// all is what belongs to the family: rows, triggers, foreign keys and code.
func (s *scene) all() string {
	s.Helper()
	var out []string
	for _, query := range []string{
		"SELECT GROUP_CONCAT(v ORDER BY id) FROM shop.`the``parent ü`",
		"SELECT GROUP_CONCAT(CONCAT(id, p) ORDER BY id) FROM shop.child",
		"SELECT GROUP_CONCAT(CONCAT(TRIGGER_NAME, ' ON ', EVENT_OBJECT_TABLE, ' ', ACTION_STATEMENT)) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'shop'",
		"SELECT GROUP_CONCAT(CONCAT(TABLE_NAME, ' TO ', REFERENCED_TABLE_NAME) ORDER BY REFERENCED_TABLE_NAME) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'shop'",
		"SELECT GROUP_CONCAT(ROUTINE_DEFINITION) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'shop'",
		"SELECT GROUP_CONCAT(TABLE_NAME ORDER BY TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'",
	} {
		out = append(out, s.value(query))
	}
	return strings.Join(out, "\n")
}

// routine is a function of the shop that the swap shall make anew.
func (s *scene) routine() swap.Code {
	s.Helper()
	s.exec("CREATE FUNCTION shop.f() RETURNS VARCHAR(9) DETERMINISTIC RETURN 'old'")
	c, err := swap.ReadCode(s.Context(), s.live.DB, "FUNCTION", schema.Name{Database: "shop", Table: "f"}, "shop")
	s.check(err)
	c.Create = strings.Replace(c.Create, "'old'", "'new'", 1)
	return c
}

// hold keeps a table in use until the returned function is called.
func (s *scene) hold(table string) func() {
	s.Helper()
	conn, err := s.live.DB.Conn(s.Context())
	s.check(err)
	for _, statement := range []string{"BEGIN", "SELECT COUNT(*) FROM " + table} {
		_, err := conn.ExecContext(s.Context(), statement)
		s.check(err)
	}
	return func() {
		_, _ = conn.ExecContext(context.WithoutCancel(s.Context()), "ROLLBACK")
		_ = conn.Close()
	}
}

// recover takes back what the run left, as a later process would.
func (s *scene) recover() {
	s.Helper()
	left, err := undo.Leftovers(s.dir)
	s.check(err)
	registry := swap.Undoers(func(context.Context, database.Endpoint) (*sql.DB, error) { return s.server.DB() })
	for _, l := range left {
		_, err := l.TakeBack(s.Context(), registry, func(string) bool { return false }, slog.New(slog.DiscardHandler))
		s.check(err)
	}
}

// TestServerDiesInTheSwap kills the server while the RENAME waits: whoever comes first when it is up again, the live tables are the old ones.
func TestServerDiesInTheSwap(t *testing.T) {
	s := open(t, one(t, "mariadb-10.11"))
	s.family()
	code := s.routine()
	before := s.all()
	release := s.hold("shop.child")
	run := s.begin("20261122-130020-abcdef")
	staging, moves := s.stage(run)
	swapped := make(chan error)
	go func() {
		_, err := staging.Swap(t.Context(), moves, code)
		swapped <- err
	}()
	for end := time.Now().Add(10 * time.Second); s.value("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'RENAME%child%'") == "0"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the RENAME does not wait")
		}
	}
	s.check(s.server.Kill())
	if err := <-swapped; err == nil {
		t.Error("the swap succeeded")
	}
	release()
	staging.Close()
	started := make(chan error)
	go func() {
		time.Sleep(time.Second)
		started <- s.server.Start(t.Context())
	}()
	unwound := run.Unwind(t.Context())
	s.check(<-started)
	s.check(run.End())
	t.Log(unwound)
	s.recover()
	if got := s.all(); got != before {
		t.Errorf("there was\n%s\nand now there is\n%s", before, got)
	}
	s.tidy()
}

// TestSequenceStays fails after the RENAME: what the new tables need stays.
func TestSequenceStays(t *testing.T) {
	s := open(t, one(t, "mariadb-10.11"))
	s.exec(shop)
	run := s.begin("20261122-130021-abcdef")
	staging, err := swap.Stage(t.Context(), run, s.live)
	s.check(err)
	s.check(staging.MakeSequence(t.Context(), schema.Name{Database: "shop", Table: "seq"}, "CREATE SEQUENCE shop.seq", "DO SETVAL(shop.seq, 41)"))
	s.check(staging.Exec(t.Context(), "CREATE TABLE `"+staging.Schema+"`.t1 (id INT PRIMARY KEY DEFAULT NEXTVAL(shop.seq), v INT)"))
	broken := swap.Code{Kind: "VIEW", Name: "v", Title: "view shop.v", Database: "shop", View: true, Create: "CREATE OR REPLACE VIEW v AS SELECT 1 FROM nowhere"}
	_, err = staging.Swap(t.Context(), []swap.Move{{Staged: "t1", Target: schema.Name{Database: "shop", Table: "t"}}}, broken)
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("the view was made: %v", err)
	}
	staging.Close()
	if err := run.Unwind(t.Context()); err == nil {
		t.Error("the view was made")
	}
	s.exec("INSERT INTO shop.t (v) VALUES (1)")
	if got := s.value("SELECT id FROM shop.t"); got != "42" {
		t.Errorf("the sequence gave %s", got)
	}
	s.exec("CREATE TABLE shop.nowhere (id INT)")
	s.check(run.Unwind(t.Context()))
	s.clean(run)
	if got := s.value("SELECT NEXTVAL(shop.seq)"); got != "43" {
		t.Errorf("the sequence gave %s", got)
	}
}

// TestOthersWereFaster makes a sequence and a database that somebody has made since the plan: both are refused, and no undo drops theirs. One of
// another name in another case is none of it.
func TestOthersWereFaster(t *testing.T) {
	s := open(t, one(t, "mariadb-10.11"))
	s.exec(shop, "CREATE SEQUENCE shop.seq", "DO SETVAL(shop.seq, 41)", "CREATE DATABASE empty")
	run := s.begin("20261122-130024-abcdef")
	staging, err := swap.Stage(t.Context(), run, s.live)
	s.check(err)
	s.check(staging.MakeDatabase(t.Context(), &schema.Database{Name: "Empty"}))
	var refusal *swap.Refusal
	if err := staging.MakeSequence(t.Context(), schema.Name{Database: "shop", Table: "seq"}, "CREATE SEQUENCE shop.seq"); !errors.As(err, &refusal) || refusal.Help == "" {
		t.Errorf("the sequence was not refused: %v", err)
	}
	if err := staging.MakeDatabase(t.Context(), &schema.Database{Name: "empty"}); !errors.As(err, &refusal) {
		t.Errorf("the database was not refused: %v", err)
	}
	staging.Close()
	s.check(run.Unwind(t.Context()))
	s.clean(run)
	if got := s.value("SELECT NEXTVAL(shop.seq)"); got != "42" {
		t.Errorf("their sequence gave %s", got)
	}
	if got := s.value("SELECT GROUP_CONCAT(SCHEMA_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'e%'"); got != "empty" {
		t.Errorf("there are the databases %s", got)
	}
}

// TestHalfARename leaves a RENAME half done, as servers do that rename one table after the other and crash: it is ended, with all that comes after.
func TestHalfARename(t *testing.T) {
	s := open(t, one(t, "mysql-5.7"))
	s.family()
	release := s.hold("shop.child")
	s.live.Patience = time.Second
	run := s.begin("20261122-130022-abcdef")
	staging, moves := s.stage(run)
	if _, err := staging.Swap(t.Context(), moves, s.routine()); err == nil {
		t.Error("the swap did not wait")
	}
	release()
	staging.Close()
	s.check(run.End()) // and the process dies
	s.exec("RENAME TABLE `"+staging.Schema+"`.`holdstill/waits` TO `"+staging.Schema+"`.`holdstill/swapped`",
		"RENAME TABLE shop.`the``parent ü` TO shop.`holdstill_"+run.ID+"_0_old`")
	s.recover()
	s.tidy()
	if got := s.all(); !strings.HasPrefix(got, "new,new\n17,28\n") || !strings.Contains(got, "'new ', NEW.v") || !strings.Contains(got, "child TO stays,child TO the`parent ü") || !strings.Contains(got, "RETURN 'new'") {
		t.Errorf("there is\n%s", got)
	}
}

// TestNamesInAnotherCase swaps on a server that knows names in lower case only, with the names of another that kept them: what stays and refers to
// the old table is found, and the new one has its key.
func TestNamesInAnotherCase(t *testing.T) {
	s := open(t, one(t, "mariadb-10.11"), "lower_case_table_names=1")
	s.exec("CREATE DATABASE Shop", "USE Shop", "CREATE TABLE Parent (id INT PRIMARY KEY)", "CREATE TABLE Child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES Parent (id))")
	parent, child := schema.Name{Database: "Shop", Table: "Parent"}, schema.Name{Database: "Shop", Table: "Child"}
	run := s.begin("20261122-130023-abcdef")
	staging, err := swap.Stage(t.Context(), run, s.live)
	s.check(err)
	defer staging.Close()
	for _, statement := range []string{"t1 (id INT PRIMARY KEY)", "t2 (id INT PRIMARY KEY, p INT, KEY (p))"} {
		s.check(staging.Exec(t.Context(), "CREATE TABLE `"+staging.Schema+"`."+statement))
	}
	moves := []swap.Move{{Staged: "t1", Target: parent}, {Staged: "t2", Target: child, Keys: []swap.Key{{Columns: []string{"p"}, To: parent, ToColumns: []string{"id"}}}}}
	if _, err := staging.Swap(t.Context(), moves[:1]); err == nil || !strings.Contains(err.Error(), "which stays") {
		t.Errorf("the child follows its old parent: %v", err)
	}
	_, err = staging.Swap(t.Context(), moves)
	s.check(err)
	s.clean(run)
	if got := s.value("SELECT GROUP_CONCAT(CONCAT(UNIQUE_CONSTRAINT_SCHEMA, '.', REFERENCED_TABLE_NAME)) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'shop'"); got != "shop.parent" {
		t.Errorf("the new child has the keys %s", got)
	}
}
