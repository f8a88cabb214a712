package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// TestMomentsAcrossAFailover goes from a point of a source to moments of the server that took its place: in one go, and further with a copy that stood
// in the old server's logs.
func TestMomentsAcrossAFailover(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onBtrfs)
		heir := must(s.lab.Server(t.Context(), build, lab.Spec{Name: "heir"}))(t)
		check(t, heir.Start(t.Context()))
		check(t, lab.Replicate(t.Context(), s.server, heir, lab.ReplicateOptions{GTID: true}))
		j := newJournal(t, build, s.server.Socket, 9)
		j.at = func() (string, int64) { return binlogEnd(t, s.server.Socket) }
		s.backup()
		j.run(15)
		old := *j.note("the last of the old one")
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		db := root(t, heir.Socket)
		defer db.Close()
		arrived(t, j.db, db, build)
		dir := filepath.Join(s.volume.Dir, "copy")
		s.restoreWithout(t, dir, "--until-gtid", old.gtid).want(t, 0)
		check(t, s.server.Kill())

		check(t, heir.Exec(t.Context(), "STOP "+replicaWord(build), "RESET "+replicaWord(build)+" ALL", "FLUSH BINARY LOGS"))
		k := newJournalOn(t, build, heir.Socket, 10)
		k.tables, k.made = j.tables, j.made+100
		k.at = func() (string, int64) { return binlogEnd(t, heir.Socket) }
		k.run(10)
		last := *k.note("the last of the new one")
		account := filepath.Join(s.lab.Dir(), "account.cnf")
		check(t, os.WriteFile(account, []byte("[client]\nuser=repl\npassword=replpw\n"), 0o600))
		s.configure(fmt.Sprintf("    binlog:\n      client_option_file: %s\n      servers: [\"127.0.0.1:%d\"]\n", account, heir.Port))
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		if b := s.binlogStatus(); len(b.Gaps) > 0 {
			t.Errorf("gaps: %+v", b.Gaps)
		}
		s.holds(t, last, "--until-gtid", last.gtid, "--instance", "shop")
		if build.Product == lab.MariaDB { // whose histories may part without a trace in a set
			s.holds(t, old, "--until-gtid", old.gtid, "--instance", "shop")
		}
		s.getsTo(t, dir, last, "--until-gtid", last.gtid)
	})
}
