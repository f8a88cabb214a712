package archive

import (
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// When the server stays away, another one of its topology is followed, from the log on in which our history ends: without a gap.
func TestFailover(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build)
		replica := serverOf(t, s.lab, build, "replica")
		if err := lab.Replicate(t.Context(), s.Server, replica, lab.ReplicateOptions{GTID: true}); err != nil {
			t.Fatal(err)
		}
		s.start(s.options(root(s.Server), root(replica)))
		s.load()
		if err := replica.Exec(t.Context(), "FLUSH LOGS"); err != nil {
			t.Fatal(err)
		}
		s.load()
		s.await()
		has(t, replica, "SELECT COUNT(*) FROM mixed.t", value(t, s.Server, "SELECT COUNT(*) FROM mixed.t"))
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		promoted := &scene{Server: replica, t: t, lab: s.lab, dir: s.dir}
		promoted.sql(stopReplica(build), "CREATE DATABASE promoted")
		promoted.await()
		logs := s.logs()
		if len(logs) < 2 {
			t.Fatalf("archived are %+v", logs)
		}
		for _, l := range logs {
			if l.Gap != nil {
				t.Errorf("before %s there is a gap: %+v", l.Name, l.Gap)
			}
		}
		last := logs[len(logs)-1]
		if last.Server.ID != uint32(replica.ServerID) {
			t.Errorf("the last log is that of %+v", last.Server)
		}
		if logs[len(logs)-2].Server.ID == last.Server.ID {
			t.Errorf("more was archived of the other server than the log in which our history ends: %+v", logs)
		}
		promoted.equal(logs[len(logs)-1:])
		promoted.sameGTIDs(last.GTIDAfter)
	})
}

// What the new server has purged is missing.
func TestFailoverWithAGap(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build)
		replica := serverOf(t, s.lab, build, "replica")
		if err := lab.Replicate(t.Context(), s.Server, replica, lab.ReplicateOptions{GTID: true}); err != nil {
			t.Fatal(err)
		}
		s.load()
		s.once()
		s.load() // not archived
		has(t, replica, "SELECT COUNT(*) FROM mixed.t", value(t, s.Server, "SELECT COUNT(*) FROM mixed.t"))
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		promoted := &scene{Server: replica, t: t, lab: s.lab, dir: s.dir}
		promoted.sql(stopReplica(build), "FLUSH LOGS", "CREATE DATABASE promoted")
		promoted.sql("PURGE BINARY LOGS TO '" + promoted.end().file + "'")
		promoted.once(root(s.Server), root(replica))
		logs := s.logs()
		if last := logs[len(logs)-1]; last.Gap == nil || last.Gap.GTIDs == "" {
			t.Errorf("the last log is %+v", last)
		}
	})
}

func stopReplica(b lab.Build) string {
	if b.NewStatements() {
		return "STOP REPLICA"
	}
	return "STOP SLAVE"
}

func value(t *testing.T, s *lab.Server, query string) string {
	t.Helper()
	v, err := s.Value(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// has waits until the server answers so.
func has(t *testing.T, s *lab.Server, query, want string) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if v, err := s.Value(t.Context(), query); err == nil && v == want {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%s: %s does not become %s", s.Name, query, want)
		}
	}
}
