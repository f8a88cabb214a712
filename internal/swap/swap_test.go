package swap_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
	"github.com/holdstill/holdstill/internal/undo"
)

// scene is a live server and a run.
type scene struct {
	*testing.T
	server *lab.Server
	live   swap.Live
	dir    string
}

func open(t *testing.T, build lab.Build, options ...string) *scene {
	t.Helper()
	l := labtest.New(t)
	server, err := l.Server(t.Context(), build, lab.Spec{Name: "live", Options: options})
	if err == nil {
		err = server.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{T: t, server: server, dir: filepath.Join(l.Dir(), "runs")}
	db, err := server.DB()
	s.check(err)
	t.Cleanup(func() { _ = db.Close() })
	s.live = swap.Live{Instance: "live", DB: db, Endpoint: database.Endpoint{Socket: server.Socket, User: "root"}, Datadir: server.Datadir}
	return s
}

// one is a build for what is ours, and not the product's.
func one(t *testing.T, name string) lab.Build {
	t.Helper()
	build, err := lab.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return build
}

func (s *scene) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) exec(statements ...string) {
	s.Helper()
	s.check(s.server.Exec(s.Context(), statements...))
}

func (s *scene) value(query string) string {
	s.Helper()
	v, err := s.server.Value(s.Context(), query)
	s.check(err)
	return v
}

func (s *scene) begin(id string) *undo.Run {
	s.Helper()
	registry := swap.Undoers(func(context.Context, database.Endpoint) (*sql.DB, error) { return s.server.DB() })
	run, err := undo.Begin(s.dir, id, "live", registry, slog.New(slog.DiscardHandler))
	s.check(err)
	return run
}

// clean ends the run, and wants no trace of its staging and ledger.
func (s *scene) clean(run *undo.Run) {
	s.Helper()
	s.check(run.End())
	s.tidy()
}

func (s *scene) tidy() {
	s.Helper()
	left, err := undo.Leftovers(s.dir)
	s.check(err)
	if found := s.value("SELECT GROUP_CONCAT(SCHEMA_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'holdstill\\_new%'"); found != "" || len(left) > 0 {
		s.Errorf("left behind: %s %v", found, left)
	}
	if found := s.value("SELECT GROUP_CONCAT(TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_NAME LIKE 'holdstill\\_%'"); found != "" {
		s.Errorf("left behind: %s", found)
	}
}

const shop = "CREATE DATABASE shop"

// family is a table with triggers, a child that refers to it and to one that stays, and names that are hard to quote.
func (s *scene) family() {
	s.exec(shop, "USE shop",
		"CREATE TABLE stays (id INT PRIMARY KEY)", "INSERT INTO stays VALUES (1), (2)",
		"CREATE TABLE log (what VARCHAR(80))",
		"CREATE TABLE `the``parent ü` (id INT PRIMARY KEY, v VARCHAR(20))",
		"CREATE TABLE child (id INT PRIMARY KEY, p INT, s INT, CONSTRAINT `to parent` FOREIGN KEY (p) REFERENCES `the``parent ü` (id) ON DELETE CASCADE, "+
			"CONSTRAINT `to stays` FOREIGN KEY (s) REFERENCES stays (id))",
		"INSERT INTO `the``parent ü` VALUES (1, 'old'), (2, 'old')", "INSERT INTO child VALUES (1, 1, 2)",
		"CREATE TRIGGER `tell me` AFTER INSERT ON `the``parent ü` FOR EACH ROW INSERT INTO log VALUES (CONCAT('old ', NEW.v))")
}

// stage makes the new family in a staging.
func (s *scene) stage(run *undo.Run) (*swap.Staging, []swap.Move) {
	s.Helper()
	staging, err := swap.Stage(s.Context(), run, s.live)
	s.check(err)
	for _, statement := range []string{
		"CREATE TABLE `" + staging.Schema + "`.t1 (id INT PRIMARY KEY, v VARCHAR(20))",
		"CREATE TABLE `" + staging.Schema + "`.t2 (id INT PRIMARY KEY, p INT, s INT, KEY (p), KEY (s))",
		"INSERT INTO `" + staging.Schema + "`.t1 VALUES (7, 'new'), (8, 'new')",
		"INSERT INTO `" + staging.Schema + "`.t2 VALUES (1, 7, 1), (2, 8, NULL)",
	} {
		s.check(staging.Exec(s.Context(), statement))
	}
	parent, child := schema.Name{Database: "shop", Table: "the`parent ü"}, schema.Name{Database: "shop", Table: "child"}
	keys, err := swap.Keys(s.Context(), s.live.DB, child)
	s.check(err)
	triggers, err := swap.Triggers(s.Context(), s.live.DB, parent)
	s.check(err)
	for i := range triggers {
		triggers[i].Body = strings.Replace(triggers[i].Body, "old ", "new ", 1)
	}
	return staging, []swap.Move{{Staged: "t1", Target: parent, Triggers: triggers}, {Staged: "t2", Target: child, Keys: keys}}
}

func TestSwapKeepsWhatBelongsToTables(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build)
		s.family()
		run := s.begin("20261122-130000-abcdef")
		staging, moves := s.stage(run)
		defer staging.Close()
		r, err := staging.Swap(t.Context(), moves)
		s.check(err)
		s.clean(run)

		s.exec("INSERT INTO shop.`the``parent ü` VALUES (9, 'nine')")
		if got := s.value("SELECT GROUP_CONCAT(what) FROM shop.log WHERE what LIKE '%nine'"); got != "new nine" {
			t.Errorf("the trigger wrote %q", got)
		}
		if err := s.server.Exec(t.Context(), "INSERT INTO shop.child VALUES (3, 99, NULL)"); err == nil {
			t.Error("the foreign key to the new parent is missing")
		}
		if err := s.server.Exec(t.Context(), "INSERT INTO shop.child VALUES (3, NULL, 99)"); err == nil {
			t.Error("the foreign key to the table that stays is missing")
		}
		s.exec("DELETE FROM shop.stays WHERE id = 2") // which only the old child refers to
		s.exec("DELETE FROM shop.`the``parent ü` WHERE id = 7")
		if got := s.value("SELECT GROUP_CONCAT(id) FROM shop.child"); got != "2" {
			t.Errorf("after a cascade the child has %s", got)
		}
		if len(r.Aside) != 2 || s.value("SELECT GROUP_CONCAT(v) FROM "+r.Aside[0].Is.SQL()) != "old,old" || s.value("SELECT COUNT(*) FROM "+r.Aside[1].Is.SQL()) != "1" {
			t.Errorf("aside: %+v", r.Aside)
		}
		s.exec("INSERT INTO shop.stays VALUES (2)")
		s.exec(append([]string{"SET SESSION foreign_key_checks = 0"}, r.Back...)...)
		s.exec("INSERT INTO shop.`the``parent ü` VALUES (10, 'ten')")
		if got := s.value("SELECT GROUP_CONCAT(v ORDER BY id) FROM shop.`the``parent ü`") + s.value("SELECT GROUP_CONCAT(what) FROM shop.log WHERE what LIKE '%ten'"); got != "old,old,tenold ten" {
			t.Errorf("going back gave %s", got)
		}
		s.exec(r.Confirm)
	})
}

func TestSwapRefuses(t *testing.T) {
	s := open(t, one(t, "mysql-9.7"))
	s.family()
	before := s.value("SELECT CREATE_TIME FROM information_schema.TABLES WHERE TABLE_NAME = 'child'")
	for name, spoil := range map[string]func(*swap.Staging, []swap.Move) []swap.Move{
		"stays, refers to": func(_ *swap.Staging, m []swap.Move) []swap.Move { return m[:1] },
		"rows of": func(g *swap.Staging, m []swap.Move) []swap.Move {
			s.check(g.Exec(t.Context(), "UPDATE `"+g.Schema+"`.t2 SET s = 77"))
			return m
		},
		"does not have": func(_ *swap.Staging, m []swap.Move) []swap.Move {
			m[1].Keys[1].To.Table = "nowhere"
			return m
		},
	} {
		run := s.begin("20261122-130001-abcdef")
		staging, moves := s.stage(run)
		_, err := staging.Swap(t.Context(), spoil(staging, moves))
		staging.Close()
		var r *swap.Refusal
		if !errors.As(err, &r) || !strings.Contains(err.Error(), name) || r.Hint() == "" {
			t.Errorf("%s: %v", name, err)
		}
		s.check(run.Unwind(t.Context()))
		s.clean(run)
	}
	run := s.begin("20261122-130003-abcdef")
	s.live.Hold = func(context.Context) error { return errors.New("a backup has it") }
	staging, moves := s.stage(run)
	if _, err := staging.Swap(t.Context(), moves); err == nil || !strings.Contains(err.Error(), "a backup has it") {
		t.Errorf("the server is another's: %v", err)
	}
	staging.Close()
	s.check(run.Unwind(t.Context()))
	s.clean(run)
	if s.value("SELECT CREATE_TIME FROM information_schema.TABLES WHERE TABLE_NAME = 'child'") != before || s.value("SELECT COUNT(*) FROM shop.child") != "1" {
		t.Error("the live table was touched")
	}
}

// A table that somebody holds for long is waited for in short turns: whoever comes after us is never kept for longer than one of them.
func TestSwapWaitsInShortTurns(t *testing.T) {
	s := open(t, one(t, "mariadb-10.11"))
	s.exec(shop, "CREATE TABLE shop.t (id INT PRIMARY KEY)", "CREATE TABLE shop.other (id BIGINT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(64), written_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))")
	other, err := s.server.Write(t.Context(), lab.WriterOptions{Table: "shop.other", Workers: 2, Pause: 2 * time.Millisecond})
	s.check(err)
	holder, err := s.live.DB.Conn(t.Context())
	s.check(err)
	defer holder.Close()
	for _, statement := range []string{"BEGIN", "INSERT INTO shop.t VALUES (1)"} {
		_, err := holder.ExecContext(t.Context(), statement)
		s.check(err)
	}
	run := s.begin("20261122-130002-abcdef")
	s.live.Patience = 3 * time.Second
	staging, err := swap.Stage(t.Context(), run, s.live)
	s.check(err)
	s.check(staging.Exec(t.Context(), "CREATE TABLE `"+staging.Schema+"`.t1 (id INT PRIMARY KEY)"))
	moves := []swap.Move{{Staged: "t1", Target: schema.Name{Database: "shop", Table: "t"}}}
	if _, err := staging.Swap(t.Context(), moves); err == nil {
		t.Error("the swap did not wait for the transaction")
	}
	_, err = holder.ExecContext(t.Context(), "COMMIT")
	s.check(err)
	if got := s.value("SELECT COUNT(*) FROM shop.t"); got != "1" {
		t.Errorf("the old table has %s rows", got)
	}
	staging.Close()
	s.check(run.Unwind(t.Context()))
	s.clean(run)
	labtest.Undisturbed(t, other.Stop())
}
