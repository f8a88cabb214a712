package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
)

// TestMomentsFromTheArchive goes to moments with what the archive holds, without naming a point: before a mistake that was found by its table, to a
// time in which nothing happened, past a transaction that is left out, and up to one that cannot be applied.
func TestMomentsFromTheArchive(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := openIn(t, labtest.New(t), build, onBtrfs, "shop", lab.Spec{Bare: true})
		j := newJournal(t, build, s.server.Socket, 4)
		j.at = func() (string, int64) { return binlogEnd(t, s.server.Socket) }
		s.backup()
		j.steps()[0]()
		before := *j.note("insert")
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		j.do("DROP TABLE plain")
		dropped := *j.note("drop")
		time.Sleep(10 * time.Millisecond)
		quiet := time.Now()
		time.Sleep(1200 * time.Millisecond) // the archive is sure of what is a second old
		s.holdstill("binlog", "archive", "--once").want(t, 0)

		found := s.find("--table", "truth.plain", "--kind", "drop")
		if len(found) != 1 || found[0].GTID != dropped.gtid || !strings.Contains(found[0].Restore, dropped.gtid+" --before") {
			t.Errorf("what was dropped by %s: %+v", dropped.gtid, found)
		}
		s.finds(t)
		if again := s.find("--table", "truth.plain", "--kind", "ddl"); len(again) < 2 { // by the index
			t.Errorf("definitions of truth.plain: %+v", again)
		}
		s.holdstill("binlog", "find", "--table", "truth.nothing").want(t, 4)
		contains(t, s.holdstill("points", "show", "latest").want(t, 0).stdout, "recoverable")

		if build.Product == lab.MariaDB { // of MySQL the next but one is enough
			s.holds(t, before, "--until-gtid", dropped.gtid, "--before")
		}
		s.holds(t, dropped, "--until-time", quiet.Format(time.RFC3339Nano))

		j.do("CREATE TABLE extra (id INT PRIMARY KEY)")
		made := *j.note("create")
		j.do("INSERT INTO extra VALUES (1)")
		last := *j.note("insert")
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		s.holds(t, before, "--until-gtid", made.gtid, "--before", "--skip-gtid", dropped.gtid)
		o := s.restoreWithout(t, filepath.Join(s.volume.Dir, "stops"), "--until-gtid", last.gtid, "--skip-gtid", made.gtid).want(t, 1)
		contains(t, o.stderr, "the replay stopped", "extra", "hint", "--skip-gtid "+last.gtid, "--continue "+filepath.Join(s.volume.Dir, "stops"))
	})
}

// TestPruneBinlogs removes the logs that are older than what the oldest point needs, and no other: what could be reached from a point that stays
// can be reached after it.
func TestPruneBinlogs(t *testing.T) {
	s := open(t, must(lab.Find("mariadb-10.11"))(t), onBtrfs)
	j := newJournal(t, s.server.Build, s.server.Socket, 6)
	j.at = func() (string, int64) { return binlogEnd(t, s.server.Socket) }
	contains(t, s.holdstill("prune").want(t, 0).stdout, "no points")
	j.do("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
	s.holdstill("binlog", "archive", "--once").want(t, 0)
	if o := s.holdstill("prune").want(t, 0); len(s.archived()) != 3 {
		t.Errorf("without a point %d logs are left\n%s", len(s.archived()), o.stdout)
	}
	p := s.backup()
	j.steps()[0]()
	last := *j.note("insert")
	j.do("FLUSH BINARY LOGS")
	s.holdstill("binlog", "archive", "--once").want(t, 0)
	dry := s.holdstill("prune", "--dry-run").want(t, 0)
	contains(t, dry.stdout, "2 files", p.ID)
	if len(s.archived()) != 4 {
		t.Errorf("--dry-run left %d logs", len(s.archived()))
	}
	s.holdstill("prune").want(t, 0)
	if left := s.archived(); len(left) != 2 || left[0] != p.Position.File {
		t.Errorf("left are %v, the point stands in %s", left, p.Position.File)
	}
	s.holds(t, last, "--until-gtid", last.gtid)
	s.holdstill("binlog", "archive", "--once").want(t, 0)
	if b := s.binlogStatus(); len(b.Gaps) > 0 {
		t.Errorf("gaps: %+v", b.Gaps)
	}
	check(t, s.server.Exec(t.Context(), "RESET MASTER")) // the point's log is no longer what follows
	s.holdstill("prune").want(t, 0)
	if left := s.archived(); len(left) != 2 {
		t.Errorf("left are %v", left)
	}
}

// archived are the names of the archived logs.
func (s *shop) archived(args ...string) (names []string) {
	s.t.Helper()
	var all []struct{ Name string }
	check(s.t, json.Unmarshal([]byte(s.holdstill(append([]string{"--json", "binlog", "list"}, args...)...).want(s.t, 0).stdout), &all))
	for _, l := range all {
		names = append(names, l.Name)
	}
	return names
}

// TestMomentInPlace puts the moment before a mistake in the place of the instance's own data, with the logs that lie there.
func TestMomentInPlace(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := openIn(t, labtest.New(t), build, onBtrfs, "shop", lab.Spec{Bare: true})
		j := newJournal(t, build, s.server.Socket, 5)
		j.at = func() (string, int64) { return binlogEnd(t, s.server.Socket) }
		s.backup()
		j.steps()[0]()
		before := *j.note("insert")
		j.do("FLUSH BINARY LOGS", "DROP TABLE keep")
		file, offset := j.at()
		check(t, s.server.Stop(t.Context()))
		s.holdstill("restore", "--in-place", "--binlogs", s.server.Datadir, "--until-position", fmt.Sprintf("%s:%d", file, offset), "--before").want(t, 0)
		db := root(t, s.server.Socket)
		defer db.Close()
		if got := fingerprint(t, db); got != before.print {
			t.Errorf("is  %s\nwas %s", got, before.print)
		}
	})
}

// foundThere is what binlog find tells.
type foundThere struct {
	GTID    string `json:"gtid"`
	Restore string `json:"restore"`
	Table   string `json:"restore_table"`
}

func (s *shop) find(args ...string) (all []foundThere) {
	s.t.Helper()
	o := s.holdstill(append([]string{"--json", "binlog", "find"}, args...)...).want(s.t, 0)
	check(s.t, json.Unmarshal([]byte(o.stdout), &all))
	return all
}

// restoreWithout restores without naming a point.
func (s *shop) restoreWithout(t *testing.T, target string, args ...string) outcome {
	t.Helper()
	return s.holdstill(append([]string{"restore", "--datadir", target}, args...)...)
}

// finds looks at what is told of a database, and at how far it is searched.
func (s *shop) finds(t *testing.T) {
	t.Helper()
	if one := s.find("--table", "truth", "--limit", "1"); len(one) != 1 || !strings.Contains(one[0].Table, "--database truth --until-") {
		t.Errorf("of a database: %+v", one)
	}
	contains(t, s.holdstill("binlog", "find", "--table", "truth.plain").want(t, 0).stdout, "--table truth.plain --until-", "\nsearched ", " logs, to binlog.")
}

// holds restores to a moment, and wants the content to be that of then.
func (s *shop) holds(t *testing.T, m moment, args ...string) {
	t.Helper()
	target := filepath.Join(s.volume.Dir, "then")
	o := s.restoreWithout(t, target, append([]string{"--json", "--start"}, args...)...).want(t, 0)
	var r struct {
		restore.Result
		Moment pitr.Moment `json:"moment"`
	}
	check(t, json.Unmarshal([]byte(o.stdout), &r))
	check(t, s.lab.Adopt(r.PID))
	db := root(t, r.Socket)
	got := fingerprint(t, db)
	check(t, db.Close())
	stop(t, &r.Result)
	if r.Moment.Last != nil && !strings.Contains(r.Position.GTID, r.Moment.Last.GTID[strings.LastIndexAny(r.Moment.Last.GTID, ":-")+1:]) {
		t.Errorf("the copy stands at %+v, and the last that was applied is %v", r.Position, r.Moment.Last)
	}
	if got != m.print {
		t.Errorf("%v: not the content of then (%s)\nis  %s\nwas %s\nlast %v", args, m.what, got, m.print, r.Moment.Last)
	}
	if left := must(filepath.Glob(filepath.Join(target, "*holdstill*")))(t); len(left) > 0 {
		t.Errorf("the replay left %v", left)
	}
	check(t, os.RemoveAll(target))
	check(t, os.RemoveAll(target+".conf"))
}
