package databasetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/undo"
)

// slack is how late this machine may tell a writer of an acknowledgement that the server sent before.
const slack = 50 * time.Millisecond

func (f *fixture) testHold(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"stalls commits", f.testStall},
		{"stalls tables without transactions", f.testLoose},
		{"flushes the redo log", f.testFlush},
		{"of a replica", f.testReplicaHold},
		{"refuses ddl", f.testDDL},
		{"meets a long statement", f.testLongStatement},
		{"meets a fresh statement", f.testFreshStatement},
		{"meets a table lock", f.testTableLock},
		{"meets ddl", f.testRunningDDL},
		{"lost connection", f.testKilled},
		{"over budget", f.testBudget},
		{"cancelled", f.testCancelled},
		{"stopped process", f.testStopped},
		{"killed process", f.testKilledProcess},
		{"taken back later", f.testUndoLock},
	} {
		t.Run(test.name, test.run)
	}
}

// taken is one hold that stands.
type taken struct {
	database.Hold
	step     undo.Step[database.Position]
	position database.Position
}

func hold(t *testing.T, s database.Server, budget time.Duration) (*taken, error) {
	t.Helper()
	h, err := s.NewHold(t.Context())
	must(t, err)
	t.Cleanup(func() { _ = h.Close() })
	if err := h.Approach(t.Context()); err != nil {
		return nil, err
	}
	out := &taken{Hold: h, step: h.Step(budget)}
	out.position, err = out.step.Act(t.Context())
	return out, err
}

func (h *taken) release(t *testing.T) {
	t.Helper()
	must(t, h.step.Undo(context.Background()))
	must(t, h.Close())
}

func (f *fixture) writer(t *testing.T) *lab.Writer {
	t.Helper()
	w, err := f.source.Write(t.Context(), lab.WriterOptions{})
	must(t, err)
	t.Cleanup(func() { w.Stop() })
	waitFor(t, "the first commits", func() bool { return len(w.Seen().Acked) > 20 })
	return w
}

func (f *fixture) testStall(t *testing.T) {
	s, w := f.server(t, f.source), f.writer(t)
	facts := f.facts(t, s)
	var windows []database.Window
	for range 5 {
		h, err := hold(t, s, 5*time.Second)
		must(t, err)
		time.Sleep(slack)
		f.checkPosition(t, facts, h.position)
		time.Sleep(150 * time.Millisecond)
		f.checkPosition(t, facts, h.position)
		h.release(t)
		windows = append(windows, h.Window())
		time.Sleep(100 * time.Millisecond)
	}
	result := w.Stop()
	if len(result.Errors) > 0 {
		t.Errorf("writers failed: %v", result.Errors[0].Err)
	}
	for _, window := range windows {
		t.Logf("granted in %v, released in %v", window.Held.Sub(window.Asked), window.Released.Sub(window.Held))
		checkNoAck(t, result, window)
	}
	f.measure(t, s)
}

func checkNoAck(t *testing.T, result lab.WriterResult, w database.Window) {
	t.Helper()
	after := false
	for _, a := range result.Acked {
		if a.At.After(w.Held.Add(slack)) && a.At.Before(w.Released) {
			t.Errorf("row %d was acknowledged %v after the hold was granted, %v before its release", a.ID, a.At.Sub(w.Held), w.Released.Sub(a.At))
		}
		after = after || a.At.After(w.Released)
	}
	if !after {
		t.Error("no commit came after the release")
	}
}

// measure logs what a hold alone costs the writers.
func (f *fixture) measure(t *testing.T, s database.Server) {
	w := f.writer(t)
	worst, sum := time.Duration(0), time.Duration(0)
	const n = 20
	for range n {
		h, err := hold(t, s, 5*time.Second)
		must(t, err)
		h.release(t)
		d := h.Window().Released.Sub(h.Window().Asked)
		worst, sum = max(worst, d), sum+d
		time.Sleep(20 * time.Millisecond)
	}
	slowest := time.Duration(0)
	for _, a := range w.Stop().Acked {
		slowest = max(slowest, a.Latency)
	}
	t.Logf("MEASURED %s: stall without a snapshot: mean %v, worst %v; slowest commit %v", f.build.Name, sum/n, worst, slowest)
}

// checkPosition compares with the server's answer to somebody else and with the file itself.
func (f *fixture) checkPosition(t *testing.T, facts *database.Facts, p database.Position) {
	t.Helper()
	show, gtid := "SHOW MASTER STATUS", "SELECT @@global.gtid_binlog_pos"
	if !f.mariadb() {
		gtid = "SELECT REPLACE(@@global.gtid_executed, '\\n', '')"
	}
	if f.build.NewStatements() {
		show = "SHOW BINARY LOG STATUS"
	}
	file, err := f.source.Value(t.Context(), show)
	must(t, err)
	set, err := f.source.Value(t.Context(), gtid)
	must(t, err)
	if p.File != file || p.GTID != set {
		t.Errorf("the position is %v, the server says %s %s", p, file, set)
	}
	info, err := os.Stat(filepath.Join(filepath.Dir(facts.BinlogBase), p.File))
	must(t, err)
	if uint64(info.Size()) != p.Offset {
		t.Errorf("the position is %v, the file has %d bytes", p, info.Size())
	}
}

// testLoose: from the time asked no writer of a table without transactions is acknowledged.
func (f *fixture) testLoose(t *testing.T) {
	must(t, f.source.Exec(t.Context(), "CREATE TABLE d.loose (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE=MyISAM"))
	defer func() { must(t, f.source.Exec(context.Background(), "DROP TABLE d.loose")) }()
	s := f.server(t, f.source)
	f.facts(t, s)
	h, err := s.NewHold(t.Context())
	must(t, err)
	must(t, h.Approach(t.Context()))
	must(t, f.source.Exec(t.Context(), "INSERT INTO d.loose VALUES ()")) // the approach stalls nobody
	step := h.Step(5 * time.Second)
	_, err = step.Act(t.Context())
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- f.source.Exec(context.Background(), "INSERT INTO d.loose VALUES ()") }()
	select {
	case err := <-done:
		t.Errorf("a MyISAM write went through the hold: %v", err)
	case <-time.After(200 * time.Millisecond):
		defer func() { must(t, <-done) }()
	}
	must(t, step.Undo(t.Context()))
	must(t, h.Close())
}

// testFlush: a server that keeps its redo in memory writes it out in the hold.
func (f *fixture) testFlush(t *testing.T) {
	must(t, f.source.Exec(t.Context(), "SET GLOBAL innodb_flush_log_at_trx_commit = 0"))
	defer func() { must(t, f.source.Exec(context.Background(), "SET GLOBAL innodb_flush_log_at_trx_commit = 1")) }()
	s, w := f.server(t, f.source), f.writer(t)
	for range 3 {
		before, _ := f.redo(t)
		h, err := hold(t, s, 5*time.Second)
		must(t, err)
		_, flushed := f.redo(t)
		h.release(t)
		if before > flushed {
			t.Errorf("before the hold the redo log stood at %d, in it only %d was written", before, flushed)
		}
		t.Logf("the hold was granted after %v", h.Window().Held.Sub(h.Window().Asked))
	}
	w.Stop()
}

// redo tells how far InnoDB came, and how far the log's file came.
func (f *fixture) redo(t *testing.T) (current, flushed uint64) {
	db, err := f.source.DB()
	must(t, err)
	defer func() { _ = db.Close() }()
	var kind, name, text string
	must(t, db.QueryRowContext(t.Context(), "SHOW ENGINE INNODB STATUS").Scan(&kind, &name, &text))
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "Log sequence number"); ok {
			current, err = strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
		}
		if rest, ok := strings.CutPrefix(line, "Log flushed up to"); ok {
			flushed, err = strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
		}
	}
	must(t, err)
	return current, flushed
}

func (f *fixture) testReplicaHold(t *testing.T) {
	w := f.writer(t)
	h, err := hold(t, f.server(t, f.middle), 5*time.Second)
	must(t, err)
	if len(h.Channels()) != 1 || h.Channels()[0].File == "" {
		t.Fatalf("got the channels %v", h.Channels())
	}
	time.Sleep(slack)
	first, err := f.middle.Value(t.Context(), "SELECT COUNT(*) FROM sampledb.sampletable")
	must(t, err)
	time.Sleep(200 * time.Millisecond)
	second, err := f.middle.Value(t.Context(), "SELECT COUNT(*) FROM sampledb.sampletable")
	must(t, err)
	channels := f.facts(t, f.server(t, f.middle)).Channels
	if first != second {
		t.Errorf("the applier went on within the hold: %s rows, then %s", first, second)
	}
	if got, now := h.Channels()[0], channels[0]; got.File != now.File || got.Offset != now.Offset || got.GTID != now.GTID {
		t.Errorf("the channel stood at %s:%d %s, and then at %s:%d %s", got.File, got.Offset, got.GTID, now.File, now.Offset, now.GTID)
	}
	h.release(t)
	w.Stop()
}

func (f *fixture) testDDL(t *testing.T) {
	h, err := hold(t, f.server(t, f.source), 10*time.Second)
	must(t, err)
	db, err := f.source.DB()
	must(t, err)
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(t.Context())
	must(t, err)
	_, err = conn.ExecContext(t.Context(), "SET SESSION lock_wait_timeout = 1")
	must(t, err)
	if _, err := conn.ExecContext(t.Context(), "CREATE TABLE d.refused (a INT)"); err == nil {
		t.Error("a table was made within the hold")
	}
	h.release(t)
	_, err = conn.ExecContext(t.Context(), "CREATE TABLE d.refused (a INT)")
	must(t, err)
	must(t, f.source.Exec(t.Context(), "DROP TABLE d.refused"))
}

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
	step := h.Step(time.Second)
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
		_, err = h.Step(time.Second).Act(t.Context())
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

// checkLost wants the loss told once, and a second undo that has nothing to do.
func checkLost(t *testing.T, h *taken) {
	t.Helper()
	if err := h.step.Undo(context.Background()); !errors.Is(err, database.ErrHoldLost) {
		t.Errorf("got %v", err)
	} else {
		t.Log(err)
	}
	must(t, h.step.Undo(context.Background()))
	must(t, h.Close())
}

func (f *fixture) testKilled(t *testing.T) {
	w := f.writer(t)
	h, err := hold(t, f.server(t, f.source), 10*time.Second)
	must(t, err)
	must(t, f.source.Exec(t.Context(), fmt.Sprintf("KILL %d", h.ConnectionID())))
	waitForAck(t, w)
	checkLost(t, h)
}

func waitForAck(t *testing.T, w *lab.Writer) {
	t.Helper()
	before := len(w.Seen().Acked)
	waitFor(t, "writers to go on", func() bool { return len(w.Seen().Acked) > before+10 })
}

func (f *fixture) testBudget(t *testing.T) {
	w := f.writer(t)
	h, err := hold(t, f.server(t, f.source), 500*time.Millisecond)
	must(t, err)
	held := time.Now()
	time.Sleep(slack)
	waitForAck(t, w)
	if took := time.Since(held); took > 1500*time.Millisecond {
		t.Errorf("a hold with a budget of half a second lasted %v", took)
	}
	checkLost(t, h)
}

func (f *fixture) testCancelled(t *testing.T) {
	w := f.writer(t)
	h, err := f.server(t, f.source).NewHold(t.Context())
	must(t, err)
	must(t, h.Approach(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	step := h.Step(5 * time.Second)
	if _, err := step.Act(ctx); err == nil {
		t.Error("a cancelled hold succeeded")
	}
	waitForAck(t, w)
	must(t, step.Undo(t.Context()))
	must(t, h.Close())
}
