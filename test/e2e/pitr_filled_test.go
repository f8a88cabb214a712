package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// TestMomentsAcrossWhatAReplicaHad goes to moments behind transactions that the server purged before they were archived: its replica fills the gap later, or
// is read at once.
func TestMomentsAcrossWhatAReplicaHad(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onBtrfs)
		replica := must(s.lab.Server(t.Context(), build, lab.Spec{Name: "replica"}))(t)
		check(t, replica.Start(t.Context()))
		check(t, lab.Replicate(t.Context(), s.server, replica, lab.ReplicateOptions{GTID: true}))
		account := filepath.Join(s.lab.Dir(), "account.cnf")
		check(t, os.WriteFile(account, []byte("[client]\nuser=repl\npassword=replpw\n"), 0o600))
		s.configure(fmt.Sprintf("    binlog:\n      client_option_file: %s\n      servers: [\"127.0.0.1:%d\"]\n", account, replica.Port))
		j := newJournal(t, build, s.server.Socket, 9)
		j.at = func() (string, int64) { return binlogEnd(t, s.server.Socket) }
		s.backup()
		j.run(5)
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		kept, early := filepath.Join(s.state, "binlog", "shop"), filepath.Join(t.TempDir(), "early")
		check(t, os.CopyFS(early, os.DirFS(kept)))
		j.run(5)
		between := *j.note("purged")
		check(t, s.server.Exec(t.Context(), "FLUSH BINARY LOGS"))
		j.run(5)
		check(t, s.server.Exec(t.Context(), "FLUSH BINARY LOGS")) // what the replica was just sent may stay
		file, _ := binlogEnd(t, s.server.Socket)
		db := root(t, replica.Socket)
		arrived(t, j.db, db, build)
		check(t, db.Close())
		check(t, s.server.Exec(t.Context(), "PURGE BINARY LOGS TO '"+file+"'"))
		j.run(5)
		last := *j.note("the last")
		check(t, replica.Stop(t.Context()))

		s.holdstill("binlog", "archive", "--once").want(t, 0)
		if b := s.binlogStatus(); len(b.Gaps) != 1 {
			t.Fatalf("gaps: %+v", b.Gaps)
		}
		contains(t, s.restoreWithout(t, filepath.Join(s.volume.Dir, "no"), "--until-gtid", last.gtid, "--instance", "shop").want(t, 2).stderr, "gap")
		check(t, replica.Start(t.Context()))
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		s.whole(t)
		s.holds(t, last, "--until-gtid", last.gtid, "--instance", "shop")

		s.stockedAt(s.store())
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		here := s.binlogLogs()
		check(t, os.RemoveAll(kept))
		if away := s.binlogLogs(); away != here {
			t.Errorf("in the repository are %s, here were %s", away, here)
		}
		check(t, os.CopyFS(kept, os.DirFS(early)))
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		s.whole(t)
		s.holds(t, between, "--until-gtid", between.gtid, "--instance", "shop")
	})
}

// binlogLogs are the logs in their order, with the gaps.
func (s *shop) binlogLogs() (out string) {
	s.t.Helper()
	var logs []archive.Log
	check(s.t, json.Unmarshal([]byte(s.holdstill("--json", "binlog", "list", "shop").want(s.t, 0).stdout), &logs))
	for _, l := range logs {
		out += fmt.Sprintf("%d %s of %d with %d, gap: %t\n", l.Seq, l.Name, l.Server.ID, l.Size, l.Gap != nil)
	}
	return out
}

// whole wants an archive without a gap, of which every log can be had.
func (s *shop) whole(t *testing.T) {
	t.Helper()
	b := s.binlogStatus()
	if len(b.Gaps) > 0 || len(b.Coverage) != 1 {
		t.Errorf("gaps: %+v, %+v", b.Gaps, b.Coverage)
	}
	contains(t, s.holdstill("points", "show", "latest").want(t, 0).stdout, "recoverable", fmt.Sprintf("%s:%d", b.Position.File, b.Position.Offset))
	var logs []struct {
		Seq int `json:"seq"`
	}
	check(t, json.Unmarshal([]byte(s.holdstill("--json", "binlog", "list").want(t, 0).stdout), &logs))
	for _, l := range logs { // of two servers, so that names may be the same
		s.holdstill("binlog", "fetch", strconv.Itoa(l.Seq), "--out", filepath.Join(t.TempDir(), strconv.Itoa(l.Seq))).want(t, 0)
	}
}
