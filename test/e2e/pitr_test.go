package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
)

// momentsTried is how many moments each case restores to: HOLDSTILL_MOMENTS, or enough for 40 with the four main ones. MariaDB's servers start fast;
// of MySQL there is one moment for each way to name it.
func momentsTried(t *testing.T, build lab.Build) int {
	if text := os.Getenv("HOLDSTILL_MOMENTS"); text != "" {
		return must(strconv.Atoi(text))(t)
	}
	switch {
	case !slices.Contains(labtest.Default, build.Name):
		return 4
	case build.Product == lab.MariaDB:
		return 13
	}
	return 7
}

// TestAnyMoment restores a server to random moments of a mixed workload, named in every way, and compares everything with what the server
// held then: with the binary logs of a source, and, of the main builds, with those of a replica.
func TestAnyMoment(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, build lab.Build) {
		t.Run("source", func(t *testing.T) {
			s := open(t, build, onBtrfs)
			j := newJournal(t, build, s.server.Socket, 1)
			j.at = func() (string, int64) { return binlogEnd(t, s.server.Socket) }
			s.anyMoment(j, func() {})
		})
		if !slices.Contains(labtest.Default, build.Name) {
			return
		}
		t.Run("replica", func(t *testing.T) {
			l := labtest.New(t)
			source := must(l.Server(t.Context(), build, lab.Spec{Name: "source"}))(t)
			check(t, source.Start(t.Context()))
			s := openIn(t, l, build, onBtrfs, "shop", lab.Spec{Options: []string{"log-slave-updates=ON"}})
			check(t, lab.Replicate(t.Context(), source, s.server, lab.ReplicateOptions{GTID: true}))
			s.awaitThreads()
			j := newJournal(t, build, source.Socket, 2)
			own := root(t, s.server.Socket)
			defer own.Close()
			j.at = func() (string, int64) {
				arrived(t, j.db, own, build)
				return binlogEnd(t, s.server.Socket)
			}
			s.anyMoment(j, func() { arrived(t, j.db, own, build) })
		})
	})
}

// anyMoment runs the workload, with a backup in its first part, and goes to moments after it.
func (s *shop) anyMoment(j *journal, settle func()) {
	j.run(15)
	settle()
	p := s.backup()
	first := len(j.Moments)
	j.run(60)
	j.do("FLUSH BINARY LOGS", "INSERT INTO log (what) VALUES ('the end')")
	j.note("the end")
	settle()
	for n := range momentsTried(s.t, s.server.Build) {
		s.t.Run(strconv.Itoa(n), func(t *testing.T) { s.oneMoment(t, p, j, first, n) })
	}
}

// oneMoment goes to a moment that is named in one of the ways.
func (s *shop) oneMoment(t *testing.T, p *catalog.Point, j *journal, first, n int) {
	ways := []func(*journal, int, *rand.Rand) (int, []string){byGTID, beforeGTID, byTime, byPosition, beforePosition, insideLarge, atRotation}
	way := ways[n%len(ways)]
	i, args := way(j, first, j.random)
	m := j.Moments[i]
	target := filepath.Join(s.volume.Dir, fmt.Sprintf("at%d", n))
	o := s.holdstill(append([]string{"--json", "restore", p.ID, "--datadir", target, "--start", "--binlogs", s.server.Datadir}, args...)...)
	if o.code != 0 {
		t.Fatalf("%v (%s, moment %d): exit code %d\n%s%s", args, m.what, i, o.code, o.stderr, o.stdout)
	}
	var r struct {
		restore.Result
		Moment pitr.Moment `json:"moment"`
	}
	check(t, json.Unmarshal([]byte(o.stdout), &r))
	check(t, s.lab.Adopt(r.PID))
	defer stop(t, &r.Result)
	db := root(t, r.Socket)
	defer db.Close()
	if got := fingerprint(t, db); got != m.print {
		t.Errorf("%v: after %d transactions the content is not that of moment %d (%s)\nis  %s\nwas %s\nlast %v\nnext %v", args, r.Moment.Applied, i, m.what, got, m.print, r.Moment.Last, r.Moment.Next)
	}
	t.Logf("%v (%s): %d transactions in %.0f ms", args, m.what, r.Moment.Applied, r.Moment.MS)
}

func pick(first, last int, r *rand.Rand) int { return first + r.IntN(last-first) }

func byGTID(j *journal, first int, r *rand.Rand) (int, []string) {
	i := pick(first, len(j.Moments), r)
	return i, []string{"--until-gtid", j.Moments[i].gtid}
}

func beforeGTID(j *journal, first int, r *rand.Rand) (int, []string) {
	for {
		// what makes several transactions at once has states between that are not noted
		i := pick(first, len(j.Moments)-1, r)
		if next := j.Moments[i+1]; one(next.what) {
			return i, []string{"--until-gtid", next.gtid, "--before"}
		}
	}
}

// one tells whether a step makes only one transaction.
func one(what string) bool {
	switch what {
	case "insert", "savepoint", "myisam", "delete", "statement", "create", "alter", "drop, truncate or rename", "load data", "zone and mode", "user", "rollback", "large":
		return true
	}
	return false
}

func byTime(j *journal, first int, r *rand.Rand) (int, []string) {
	for {
		if i := pick(first, len(j.Moments), r); !j.Moments[i].time.IsZero() {
			return i, []string{"--until-time", j.Moments[i].time.Format(time.RFC3339)}
		}
	}
}

func byPosition(j *journal, first int, r *rand.Rand) (int, []string) {
	i := pick(first, len(j.Moments), r)
	return i, []string{"--until-position", fmt.Sprintf("%s:%d", j.Moments[i].file, j.Moments[i].offset)}
}

func beforePosition(j *journal, first int, r *rand.Rand) (int, []string) {
	for {
		i := pick(first, len(j.Moments)-1, r)
		if next := j.Moments[i+1]; one(next.what) {
			return i, []string{"--until-position", fmt.Sprintf("%s:%d", next.file, next.offset), "--before"}
		}
	}
}

// insideLarge names an event in the middle of a large transaction: that has no part in the state.
func insideLarge(j *journal, first int, _ *rand.Rand) (int, []string) {
	for i := len(j.Moments) - 1; i > first; i-- {
		if m := j.Moments[i]; m.inside > 0 {
			return i - 1, []string{"--until-position", fmt.Sprintf("%s:%d", m.file, m.inside)}
		}
	}
	return byPosition(j, first, j.random)
}

// atRotation names the beginning of a file.
func atRotation(j *journal, first int, r *rand.Rand) (int, []string) {
	for i := len(j.Moments) - 1; i > first; i-- {
		if m := j.Moments[i]; m.what == "the end" && m.file != j.Moments[i-1].file {
			return i - 1, []string{"--until-position", m.file + ":4"}
		}
	}
	return byPosition(j, first, r)
}

// binlogEnd is where a server's binary log ends.
func binlogEnd(t *testing.T, socket string) (file string, offset int64) {
	t.Helper()
	db := root(t, socket)
	defer db.Close()
	var found *sql.Rows
	var err error
	for _, statement := range []string{"SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"} {
		if found, err = db.Query(statement); err == nil {
			break
		}
	}
	check(t, err)
	defer found.Close()
	columns := must(found.Columns())(t)
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	if !found.Next() {
		t.Fatal("the server writes no binary log")
	}
	check(t, found.Scan(into...))
	return values[0].String, must(strconv.ParseInt(values[1].String, 10, 64))(t)
}

// arrived waits until a replica has applied everything of its source.
func arrived(t *testing.T, source, replica *sql.DB, build lab.Build) {
	t.Helper()
	mark, wait := "SELECT @@GLOBAL.gtid_executed", "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 30)"
	if build.Product == lab.MariaDB {
		mark, wait = "SELECT @@GLOBAL.gtid_binlog_pos", "SELECT MASTER_GTID_WAIT(?, 30)"
	}
	var gtid string
	check(t, source.QueryRow(mark).Scan(&gtid))
	var timedOut int
	check(t, replica.QueryRow(wait, gtid).Scan(&timedOut))
	if timedOut != 0 {
		t.Fatalf("the replica has not reached %s", gtid)
	}
}
