package databasetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
)

// background runs a statement until the test ends, over a connection that it returns the id of.
func (f *fixture) background(t *testing.T, statements ...string) {
	t.Helper()
	db, err := f.source.DB()
	must(t, err)
	conn, err := db.Conn(t.Context())
	must(t, err)
	var id int64
	must(t, conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, s := range statements {
			rows, err := conn.QueryContext(context.Background(), s)
			if err != nil {
				continue
			}
			for rows.Next() { //nolint:revive // until it is interrupted
			}
			_ = rows.Err()
			_ = rows.Close()
		}
	}()
	t.Cleanup(func() {
		_ = f.source.Exec(context.Background(), fmt.Sprintf("KILL %d", id))
		<-ended
		_ = conn.Close()
		_ = db.Close()
	})
}

// checkBusy wants ErrBusy within the budget, writers that went on, and nothing of ours that still waits.
func (f *fixture) checkBusy(t *testing.T, s database.Server, budget, pause time.Duration) {
	t.Helper()
	w := f.writer(t)
	begun := time.Now()
	h, err := hold(t, s, budget)
	took := time.Since(begun)
	if !errors.Is(err, database.ErrBusy) {
		t.Fatalf("got %v after %v", err, took)
	}
	t.Logf("%v after %v", err, took)
	if took > budget+budget/4 {
		t.Errorf("the answer took %v of a budget of %v", took, budget)
	}
	time.Sleep(200 * time.Millisecond)
	f.checkNothingOurs(t, "BACKUP STAGE", "FLUSH TABLES", "LOCK INSTANCE")
	time.Sleep(200 * time.Millisecond)
	result := w.Stop()
	last := result.Acked[len(result.Acked)-1]
	if time.Since(last.At) > time.Second {
		t.Errorf("the last commit was acknowledged %v ago", time.Since(last.At))
	}
	slowest := time.Duration(0)
	for _, a := range result.Acked {
		slowest = max(slowest, a.Latency)
	}
	if slowest > pause {
		t.Errorf("a commit took %v", slowest)
	}
	if h != nil {
		must(t, h.step.Undo(t.Context())) // as the ledger will
		must(t, h.Close())
	}
}

func (f *fixture) checkNothingOurs(t *testing.T, statements ...string) {
	t.Helper()
	for _, s := range statements {
		n, err := f.source.Value(t.Context(), "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '"+s+"%' AND ID <> CONNECTION_ID()")
		must(t, err)
		if n != "0" {
			t.Errorf("%s statements that begin with %s still run", n, s)
		}
	}
}

func (f *fixture) testLongStatement(t *testing.T) {
	s := f.server(t, f.source)
	must(t, f.source.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS d.read_me (a INT) ENGINE=InnoDB", "INSERT INTO d.read_me VALUES (1)"))
	f.background(t, "SELECT SLEEP(60) FROM d.read_me")
	time.Sleep(300 * time.Millisecond)
	blockers, err := s.Blockers(t.Context())
	must(t, err)
	if f.NoReader {
		if len(blockers) > 0 {
			t.Errorf("a reader blocks: %v", blockers)
		}
		h, err := hold(t, s, 2*time.Second)
		must(t, err)
		h.release(t)
		return
	}
	if len(blockers) != 1 || !strings.Contains(blockers[0].Text, "SLEEP") || blockers[0].Running < 200*time.Millisecond {
		t.Errorf("got the blockers %v", blockers)
	}
	f.checkBusy(t, s, 2*time.Second, time.Second)
	// a table that is not flushed half-way can still be read by newcomers
	n, err := f.source.Value(t.Context(), "SELECT COUNT(*) FROM d.read_me")
	must(t, err)
	t.Logf("the table can be read: %s rows", n)
}

// testFreshStatement: a statement too young to be expected to last. The stall is given up at half of the budget.
func (f *fixture) testFreshStatement(t *testing.T) {
	if f.NoReader {
		t.Log("the hold waits for no reader")
		return
	}
	s, w := f.server(t, f.source), f.writer(t) // it makes its table before the approach keeps DDL out
	h, err := s.NewHold(t.Context())
	must(t, err)
	defer func() { must(t, h.Close()) }()
	must(t, h.Approach(t.Context()))
	f.background(t, "SELECT SLEEP(60) FROM d.read_me")
	time.Sleep(30 * time.Millisecond)
	step := h.Step(database.Within(time.Second))
	if _, err := step.Act(t.Context()); !errors.Is(err, database.ErrBusy) {
		t.Errorf("got %v", err)
	}
	stall := h.Window().Released.Sub(h.Window().Asked)
	if h.Window().Asked.IsZero() || stall > 800*time.Millisecond {
		t.Errorf("the stall that failed lasted %v", stall)
	}
	time.Sleep(200 * time.Millisecond)
	f.checkNothingOurs(t, "FLUSH TABLES", "LOCK INSTANCE")
	result := w.Stop()
	if last := result.Acked[len(result.Acked)-1]; time.Since(last.At) > 100*time.Millisecond {
		t.Errorf("the last commit was acknowledged %v ago", time.Since(last.At))
	}
	must(t, step.Undo(t.Context()))
}

func (f *fixture) testTableLock(t *testing.T) {
	if f.NoReader || !f.build.AtLeast(8, 0) {
		t.Log("this server does not tell who locks tables, or need not")
		return
	}
	f.background(t, "LOCK TABLES d.read_me READ")
	time.Sleep(100 * time.Millisecond)
	f.checkBusy(t, f.server(t, f.source), 2*time.Second, time.Second)
}

func (f *fixture) testRunningDDL(t *testing.T) {
	s := f.server(t, f.source)
	t.Cleanup(func() { _ = f.source.Exec(context.Background(), "DROP TABLE IF EXISTS d.slow") }) // after the statement ended
	name := "d.slow"
	if f.mariadb() || f.build.AtLeast(8, 0) {
		f.background(t, "CREATE TABLE d.slow (a INT) SELECT SLEEP(60) AS a FROM d.t")
	} else { // with GTIDs older servers refuse that
		name = "d.read_me"
		f.background(t, "BEGIN", "SELECT * FROM d.read_me", "DO SLEEP(0)")
		time.Sleep(100 * time.Millisecond)
		f.background(t, "ALTER TABLE d.read_me ADD COLUMN b INT")
	}
	time.Sleep(200 * time.Millisecond)
	begun := time.Now()
	if facts := f.facts(t, s); time.Since(begun) > 5*time.Second {
		t.Errorf("facts took %v while a table was made, unreadable: %q", time.Since(begun), facts.Unreadable)
	}
	blockers, err := s.Blockers(t.Context())
	must(t, err)
	if len(blockers) != 1 || !strings.Contains(blockers[0].Text, name) {
		t.Errorf("got the blockers %v", blockers)
	}
	h, err := s.NewHold(t.Context())
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	begun = time.Now()
	err = h.Approach(ctx)
	if err == nil { // the server lets the approach through: then the step has to say it
		_, err = h.Step(database.Within(time.Second)).Act(t.Context())
	}
	if !errors.Is(err, database.ErrBusy) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("that took %v", took)
	}
	must(t, h.Close())
	f.checkNothingOurs(t, "BACKUP STAGE", "FLUSH TABLES", "LOCK INSTANCE")
}
