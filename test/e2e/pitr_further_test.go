package e2e

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
)

// TestTakenFurther takes restored copies further: from moment to moment, past a transaction that cannot be applied, after a kill in the middle of
// a replay, and without GTIDs. A copy that somebody has written to is refused.
func TestTakenFurther(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onBtrfs)
		j := newJournal(t, build, s.server.Socket, 7)
		j.at = func() (string, int64) { return binlogEnd(t, s.server.Socket) }
		j.do("DROP TABLE plain") // without transactions, which no kill forgives
		s.backup()
		j.steps()[0]()
		first := *j.note("insert")
		j.do("CREATE TABLE extra (id INT PRIMARY KEY)")
		made := *j.note("create")
		j.do("INSERT INTO extra VALUES (1)")
		cannot := *j.note("insert")
		j.do("RENAME TABLE extra TO other")
		named := *j.note("rename")
		j.do("DROP TABLE IF EXISTS other")
		j.steps()[0]()
		second := *j.note("insert")
		s.holdstill("binlog", "archive", "--once").want(t, 0)

		dir := filepath.Join(s.volume.Dir, "copy")
		s.restoreWithout(t, dir, "--until-gtid", first.gtid).want(t, 0)
		s.refusesFurther(t, dir, 2, "has it already", "--until-gtid", first.gtid, "--before")
		s.refusesFurther(t, dir, 2, "leave out the point", "latest", "--until-gtid", second.gtid)
		s.refusesFurther(t, dir, 2, "needs a moment")
		s.refusesFurther(t, dir, 2, "--port says nothing", "--until-gtid", second.gtid, "--port", "3399")
		s.refusesFurther(t, dir+"-nowhere", 2, "is missing", "--until-gtid", second.gtid)
		o := s.further(dir, "--until-gtid", second.gtid, "--skip-gtid", made.gtid).want(t, 1)
		contains(t, o.stdout, "is kept", "extra", "--continue "+dir+" --until-gtid "+second.gtid+" --skip-gtid "+made.gtid+" --skip-gtid "+cannot.gtid)
		s.refusesFurther(t, dir, 2, "has it already", "--until-gtid", first.gtid, "--before")
		if build.Product == lab.MySQL { // whose set of GTIDs has it now
			s.refusesFurther(t, dir, 2, "again with --skip-gtid", "--until-gtid", second.gtid, "--skip-gtid", cannot.gtid)
		} else { // whose position has to be told once more
			o = s.further(dir, "--until-gtid", second.gtid, "--skip-gtid", made.gtid, "--skip-gtid", cannot.gtid).want(t, 1)
			contains(t, o.stdout, "is kept", "extra", "--skip-gtid "+named.gtid)
		}
		s.getsTo(t, dir, second, "--until-gtid", second.gtid, "--skip-gtid", made.gtid, "--skip-gtid", cannot.gtid, "--skip-gtid", named.gtid)

		if build.Product == lab.MariaDB { // whose servers start fast
			s.campaignFurther(t, j, dir)
		}
		s.many(j, 5000)
		last := *j.note("many")
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		s.killedAnew(t, last)
		s.killedFurther(t, build, dir, last)
		s.getsToAnd(t, dir, last, writes("INSERT INTO truth.log (what) VALUES ('of somebody')"), "--until-gtid", last.gtid)
		s.refusesFurther(t, dir, 2, "was written to", "--until-gtid", last.gtid)
		if build.Product == lab.MySQL { // MariaDB's always have GTIDs
			s.anonymous(t, j)
		}
	})
}

// campaignFurther kills at the boundaries of taking a copy further: it goes on all the same, and ends where it should. Before the first promise, and
// at one, nothing has happened yet to the copy: there other campaigns kill.
func (s *shop) campaignFurther(t *testing.T, j *journal, dir string) {
	t.Helper()
	next := func() (moment, []string) {
		j.steps()[0]()
		m := *j.note("insert")
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		return m, []string{"restore", "--continue", dir, "--start", "--until-gtid", m.gtid}
	}
	_, args := next()
	boundaries := s.passes(args...)
	for _, pid := range serversOn(t, dir) {
		stop(t, &restore.Result{PID: must(strconv.Atoi(pid))(t)})
	}
	boundaries = slices.DeleteFunc(boundaries, func(b string) bool { return b == "ledger.append" || strings.HasSuffix(b, ".promise") })
	for _, boundary := range boundaries {
		m, args := next()
		if o := s.withFault(boundary+":kill", args...); o.code != -1 {
			t.Errorf("%s: the kill did not happen: exit code %d\n%s", boundary, o.code, o.stderr)
		}
		s.getsTo(t, dir, m, args[4:]...)
	}
	t.Logf("%d faults injected: %v", len(boundaries), boundaries)
}

func (s *shop) further(dir string, args ...string) outcome {
	s.t.Helper()
	return s.holdstill(append([]string{"--json", "restore", "--continue", dir}, args...)...)
}

func (s *shop) refusesFurther(t *testing.T, dir string, code int, want string, args ...string) {
	t.Helper()
	if o := s.further(dir, args...); o.code != code || !strings.Contains(o.stdout, want) {
		t.Errorf("%v: exit code %d, want %d and %q:\n%s%s", args, o.code, code, want, o.stdout, o.stderr)
	}
}

// getsTo takes the copy to a moment, and wants it to be what the server held then.
func (s *shop) getsTo(t *testing.T, dir string, m moment, args ...string) {
	t.Helper()
	s.getsToAnd(t, dir, m, writes(), args...)
}

// writes makes statements of one session.
func writes(statements ...string) func(t *testing.T, db *sql.DB) {
	return func(t *testing.T, db *sql.DB) {
		t.Helper()
		db.SetMaxOpenConns(1)
		for _, q := range statements {
			must(db.Exec(q))(t)
		}
	}
}

// getsToAnd does something with the copy when it is there.
func (s *shop) getsToAnd(t *testing.T, dir string, m moment, then func(*testing.T, *sql.DB), args ...string) {
	t.Helper()
	o := s.further(dir, append(args, "--start")...).want(t, 0)
	var r struct {
		restore.Result
		Moment pitr.Moment `json:"moment"`
	}
	check(t, json.Unmarshal([]byte(o.stdout), &r))
	check(t, s.lab.Adopt(r.PID))
	db := root(t, r.Socket)
	got := fingerprint(t, db)
	then(t, db)
	check(t, db.Close())
	if o := s.further(dir, args...); o.code != 2 || !strings.Contains(o.stdout, "running") {
		t.Errorf("a copy with a server: exit code %d\n%s", o.code, o.stdout)
	}
	stop(t, &r.Result)
	if got != m.print {
		t.Errorf("%v: not the content of then (%s)\nis  %s\nwas %s\nlast %v", args, m.what, got, m.print, r.Moment.Last)
	}
	if left := must(filepath.Glob(filepath.Join(dir, "*holdstill*")))(t); len(left) > 0 {
		t.Errorf("the replay left %v", left)
	}
}
