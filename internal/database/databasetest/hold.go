package databasetest

import (
	"context"
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
	out := &taken{Hold: h, step: h.Step(database.Within(budget))}
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
	var releasing []time.Time
	for range 5 {
		h, err := hold(t, s, 5*time.Second)
		must(t, err)
		time.Sleep(slack)
		f.checkPosition(t, facts, h.position)
		time.Sleep(150 * time.Millisecond)
		f.checkPosition(t, facts, h.position)
		releasing = append(releasing, time.Now())
		h.release(t)
		windows = append(windows, h.Window())
		time.Sleep(100 * time.Millisecond)
	}
	result := w.Stop()
	if len(result.Errors) > 0 {
		t.Errorf("writers failed: %v", result.Errors[0].Err)
	}
	for i, window := range windows {
		t.Logf("granted in %v, released in %v", window.Held.Sub(window.Asked), window.Released.Sub(window.Held))
		checkNoAck(t, result, window, releasing[i])
	}
	f.measure(t, s)
}

// checkNoAck: the server may let a writer go before its answer to the release reaches us, but not before it was asked.
func checkNoAck(t *testing.T, result lab.WriterResult, w database.Window, releasing time.Time) {
	t.Helper()
	after := false
	for _, a := range result.Acked {
		if a.At.After(w.Held.Add(slack)) && a.At.Before(releasing) {
			t.Errorf("row %d was acknowledged %v after the hold was granted, %v before its release", a.ID, a.At.Sub(w.Held), releasing.Sub(a.At))
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
	step := h.Step(database.Within(5 * time.Second))
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
