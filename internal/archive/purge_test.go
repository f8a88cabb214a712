package archive

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
)

// plan plans a purge with one replica that is known beforehand.
func (s *scene) plan(replica *lab.Server, dry bool) *Purging {
	s.t.Helper()
	a, err := Open(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	o := s.options()
	p, err := PlanPurge(s.t.Context(), PurgeOptions{Archive: a, Host: o.Host, Instance: o.Instance, Source: root(s.Server), Admin: root(s.Server), Replicas: []Source{root(replica)}, DryRun: dry, Log: o.Log,
		At: func(string, int) (Source, error) { return root(replica), nil }})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// keeps wants a log to stay that is not the last, for a reason.
func (s *scene) keeps(replica *lab.Server, why string) {
	s.t.Helper()
	p := s.plan(replica, true)
	first := slices.IndexFunc(p.Logs, func(v Verdict) bool { return !v.Purge })
	if text := strings.Join(p.Logs[first].Why, "; "); p.To == s.end().file || !strings.Contains(text, why) {
		s.t.Errorf("%q does not keep the logs, but %q: %+v", why, text, p)
	}
}

// A replica without GTIDs that was restarted, and whose threads stand still, does not know whom it follows. A new one has executed nothing.
func TestPurgeForAReplicaThatStandsStill(t *testing.T) {
	build, err := lab.Find("mysql-9.7")
	if err != nil {
		t.Fatal(err)
	}
	off := []string{"gtid-mode=OFF", "enforce-gtid-consistency=OFF", "skip-replica-start=ON"}
	s := newScene(t, build, off...)
	replica := serverOf(t, s.lab, build, "replica", off...)
	rotates := func() {
		s.sql("CREATE OR REPLACE VIEW mysql.v AS SELECT 1", "FLUSH BINARY LOGS")
		s.once()
	}
	rotates()
	if p := s.plan(replica, true); p.To == "" || !strings.Contains(p.Logs[0].Why[0], "1 server without replication from here") {
		t.Errorf("with a server that follows nobody: %+v", p)
	}
	if err := lab.Replicate(t.Context(), s.Server, replica, lab.ReplicateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := replica.Exec(t.Context(), "STOP REPLICA SQL_THREAD"); err != nil {
		t.Fatal(err)
	}
	rotates()
	s.keeps(replica, "is at binlog.00000")
	if _, err := os.Lstat(filepath.Join(s.dir, seenFile)); err == nil {
		t.Error("a dry run noted which replicas there are")
	}
	for _, do := range []func() error{func() error { return replica.Stop(t.Context()) }, func() error { return replica.Start(t.Context()) }} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	s.keeps(replica, "has not reached its source 127.")
	if err := replica.Exec(t.Context(), "START REPLICA"); err != nil {
		t.Fatal(err)
	}
	has(t, replica, "SELECT COUNT(*) FROM information_schema.VIEWS WHERE TABLE_NAME = 'v'", "1")
	has(t, replica, "SELECT SOURCE_POS_WAIT('"+s.end().file+"', 4, 30) >= 0", "1")
	if p := s.plan(replica, false); p.To != s.end().file || !strings.Contains(p.Logs[0].Why[0], ", executed by 1 replica") {
		t.Errorf("with a replica that has executed all: %+v", p)
	}
	if err := replica.Exec(t.Context(), "STOP REPLICA", "RESET REPLICA"); err != nil { // as a new one
		t.Fatal(err)
	}
	s.keeps(replica, "has executed nothing of this server yet")
}

// What a reader has to do with a log.
func TestClaims(t *testing.T) {
	executedBy := func(texts ...string) (out []*gtids) {
		for _, text := range texts {
			g, err := parseGTIDs(text)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, g)
		}
		return out
	}
	l := Log{Name: "binlog.000007", GTIDAfter: "0-1-53"}
	for what, c := range map[string]struct {
		r    Reader
		want claim
	}{
		"nothing is known":             {Reader{}, needs},
		"it cannot be asked":           {Reader{Blocks: "x", file: "binlog.000009"}, needs},
		"ignored":                      {Reader{Blocks: "x", Ignored: true}, ignored},
		"of another source":            {Reader{apart: true}, unrelated},
		"in the log":                   {Reader{file: "binlog.000007"}, needs},
		"in the next":                  {Reader{file: "binlog.000008"}, executed},
		"all GTIDs":                    {Reader{ID: 2, gtids: executedBy("0-1-53")}, executed},
		"not all":                      {Reader{ID: 2, gtids: executedBy("0-1-52")}, needs},
		"others':":                     {Reader{ID: 2, gtids: executedBy("0-3-60")}, executed},
		"writes of its own":            {Reader{ID: 2, gtids: executedBy("0-1-50", "0-2-53")}, needs},
		"once the source itself":       {Reader{ID: 1, gtids: executedBy("0-3-9", "0-1-60")}, executed},
		"GTIDs of another domain only": {Reader{ID: 2, gtids: executedBy("1-1-99")}, needs},
	} {
		if got, why := c.r.claims(l); got != c.want || (why == "") != (got != needs) {
			t.Errorf("%s: %d, want %d: %q", what, got, c.want, why)
		}
	}
}
