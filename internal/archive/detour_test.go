package archive

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// torn is a source with a replica that has all, and an archive of the source that lacks what is purged there.
type torn struct {
	*scene
	replica *lab.Server
}

func newTorn(t *testing.T, name string) *torn {
	t.Helper()
	build, err := lab.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	s := newScene(t, build)
	w := &torn{s, serverOf(t, s.lab, build, "replica")}
	if err := lab.Replicate(t.Context(), s.Server, w.replica, lab.ReplicateOptions{GTID: true}); err != nil {
		t.Fatal(err)
	}
	s.load()
	s.once()
	s.load()
	s.sql("FLUSH BINARY LOGS")
	s.load()
	w.replicated()
	s.sql("FLUSH BINARY LOGS")
	s.sql("PURGE BINARY LOGS TO '" + s.end().file + "'")
	s.sql("INSERT INTO mixed.t (v) VALUES ('behind')")
	w.replicated()
	return w
}

// replicated waits until the replica has all.
func (w *torn) replicated() {
	w.t.Helper()
	has(w.t.(*testing.T), w.replica, "SELECT COUNT(*) FROM mixed.t", value(w.t.(*testing.T), w.Server, "SELECT COUNT(*) FROM mixed.t"))
}

// connected is for logs that follow on one another, each by its own word, up to where the source is.
func (w *torn) connected(logs []Log) {
	w.t.Helper()
	for i, l := range logs {
		if l.Gap != nil {
			w.t.Errorf("before %s there is a gap: %+v", l.Name, l.Gap)
		}
		if i > 0 {
			if why := Follows(logs[i-1], l); why != "" {
				w.t.Errorf("%d, %s: %s", l.Seq, l.Name, why)
			}
		}
	}
	w.sameGTIDs(logs[len(logs)-1].GTIDAfter)
}

func (w *torn) of(s *lab.Server, logs []Log) []Log {
	return slices.DeleteFunc(slices.Clone(logs), func(l Log) bool { return l.Server.ID != uint32(s.ServerID) })
}

var products = []string{"mariadb-10.11", "mysql-9.7"}

// What the server has purged, and another one still has, is read there, now or when it can be.
func TestWhatTheServerPurged(t *testing.T) {
	for _, name := range products {
		t.Run(name, func(t *testing.T) {
			w := newTorn(t, name)
			late, apart := w.copied(), w.copied()
			w.around(t)
			late.fill(t)
			apart.apart(t)
		})
	}
}

// copied is the same with an archive of its own.
func (w *torn) copied() *torn {
	w.t.Helper()
	other := *w.scene
	other.dir = filepath.Join(w.t.TempDir(), "archive")
	if err := os.CopyFS(other.dir, os.DirFS(w.dir)); err != nil {
		w.t.Fatal(err)
	}
	return &torn{&other, w.replica}
}

// apart: the other server has it, and something of its own, which no replay may apply. It replicates on, so that on MariaDB its position tells nothing.
func (w *torn) apart(t *testing.T) {
	w.replicated()
	if err := w.replica.Exec(t.Context(), "CREATE DATABASE errant"); err != nil {
		t.Fatal(err)
	}
	w.sql("INSERT INTO mixed.t (v) VALUES ('on')", "INSERT INTO mixed.t (v) VALUES ('and on')")
	w.replicated()
	w.once(root(w.Server), root(w.replica))
	logs := w.logs()
	if l := logs[len(logs)-1]; l.Gap == nil || l.Gap.GTIDs == "" {
		t.Errorf("the last log is %+v", l)
	}
	fills, err := (&Archive{w.dir}).Fills()
	for _, f := range fills {
		if logs, err := f.Logs(); err != nil || len(logs) > 0 {
			t.Errorf("the gap is filled with %+v, %v", logs, err)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// around: the other server has it now; then the first one is followed again.
func (w *torn) around(t *testing.T) {
	own := account(t, w.Server)
	has(t, w.replica, "SELECT COUNT(*) FROM mysql.user WHERE user = 'archiver'", "1")
	other := own
	other.Host, other.Port = w.replica.Bind, w.replica.Port
	w.once(own, other)
	logs := w.logs()
	w.connected(logs)
	last := logs[len(logs)-1]
	between := w.of(w.replica, logs)
	if len(between) == 0 || last.Server.ID != uint32(w.ServerID) {
		t.Fatalf("archived are %+v", logs)
	}
	back := slices.DeleteFunc(slices.Clone(logs), func(l Log) bool { return l.Seq <= between[len(between)-1].Seq }) // mostly one
	w.equal(back)
	between[len(between)-1].Closed = false // for us it was over before
	(&scene{Server: w.replica, t: t, lab: w.lab, dir: w.dir}).equal(between)

	// killed between the two servers
	for _, l := range back {
		path := (&Archive{w.dir}).Path(l)
		for _, file := range []string{path, path + entrySuffix, path + markSuffix} {
			if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	stop := w.start(w.options(root(w.Server), root(w.replica)))
	w.sql("INSERT INTO mixed.t (v) VALUES ('later')")
	w.await()
	logs = w.logs()
	w.connected(logs)
	if last = logs[len(logs)-1]; last.Server.ID != uint32(w.ServerID) {
		t.Errorf("the last log is %+v", last)
	}
	stop()
}

// fill: the other server is away when the gap comes, and fills it when it is back.
func (w *torn) fill(t *testing.T) {
	if err := w.replica.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := w.options(root(w.Server), root(w.replica))
	o.fillEvery = 200 * time.Millisecond
	stop := w.start(o)
	w.await()
	main := w.logs()
	i := slices.IndexFunc(main, func(l Log) bool { return l.Gap != nil })
	if i < 1 || main[i].Gap.GTIDs == "" {
		t.Fatalf("no gap that GTIDs tell of: %+v", main)
	}
	if err := w.replica.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.connected(w.filled(main[i]))
	w.sql("INSERT INTO mixed.t (v) VALUES ('later')")
	w.await()
	stop()
	if got := w.logs(); len(got) != len(main) || got[i].Gap == nil {
		t.Errorf("the archive itself is another one: %+v", got)
	}
	w.unclosed(fillDir(w.dir, main[i].Seq)) // killed at the end
	w.once(root(w.Server), root(w.replica))
	w.connected(w.filled(main[i]))

	// the log behind the gap is pruned
	for _, l := range main[:i+1] {
		if err := os.Remove((&Archive{w.dir}).Path(l) + entrySuffix); err != nil {
			t.Fatal(err)
		}
	}
	w.once(root(w.Server))
	if fills, err := (&Archive{w.dir}).Fills(); err != nil || len(fills) > 0 {
		t.Errorf("there are still %v, %v", fills, err)
	}
}

// unclosed opens the last log of an archive again.
func (w *torn) unclosed(dir string) {
	w.t.Helper()
	entries, err := readEntries(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	e := entries[len(entries)-1]
	e.Closed = false
	if err := e.put(dir); err != nil {
		w.t.Fatal(err)
	}
}

// filled waits until the gap before a log is filled, and gives all logs with what was missing in its place.
func (w *torn) filled(behind Log) (all []Log) {
	w.t.Helper()
	a := &Archive{w.dir}
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		fills, err := a.Fills()
		if err != nil {
			w.t.Fatal(err)
		}
		for _, f := range fills {
			logs, err := f.Logs()
			if n := len(logs); err != nil || n == 0 || !logs[n-1].Closed || logs[0].Fills != behind.Head {
				continue
			}
			if rest, err := missing(behind.GTIDBefore, logs[len(logs)-1].GTIDAfter); err != nil || rest != "" {
				continue // closed since the next one is about to begin
			}
			for _, l := range w.logs() {
				if l.Seq == behind.Seq {
					l.Gap = nil
					all = append(all, logs...)
				}
				all = append(all, l)
			}
			logs[len(logs)-1].Closed = false // for us it was over before
			(&scene{Server: w.replica, t: w.t, lab: w.lab, dir: f.dir}).equal(logs)
			return all
		}
		if time.Now().After(until) {
			w.t.Fatalf("the gap before %s is not filled", behind.Name)
		}
	}
}
