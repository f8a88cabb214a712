package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdstill/holdstill/internal/restore"
)

// anonymous takes a copy further whose transactions have no GTIDs, of a server that had them before.
func (s *shop) anonymous(t *testing.T, j *journal) {
	t.Helper()
	options := must(os.OpenFile(s.server.OptionFile, os.O_APPEND|os.O_WRONLY, 0))(t)
	must(options.WriteString("[mysqld]\ngtid-mode=OFF\nenforce-gtid-consistency=OFF\n"))(t)
	check(t, options.Close())
	j.do("SET GLOBAL gtid_mode = ON_PERMISSIVE", "SET GLOBAL gtid_mode = OFF_PERMISSIVE", "SET GLOBAL gtid_mode = OFF", "SET GLOBAL enforce_gtid_consistency = OFF")
	p := s.backup()
	if p.Position.GTID == "" {
		t.Error("the server has forgotten its GTIDs of before")
	}
	note := func(what string) moment {
		m := moment{what: what, print: fingerprint(t, j.db)}
		m.file, m.offset = j.at()
		return m
	}
	j.steps()[0]()
	first := note("insert")
	j.do("CREATE TABLE extra (id INT PRIMARY KEY)", "INSERT INTO extra VALUES (1)")
	j.steps()[0]()
	cannot := note("before")
	j.do("RENAME TABLE extra TO other", "DROP TABLE other")
	last := note("last")
	logs := s.server.Datadir
	dir := filepath.Join(s.volume.Dir, "anonymous")
	s.holdstill("restore", p.ID, "--datadir", dir, "--binlogs", logs, "--until-position", position(first)).want(t, 0)
	// what the copy lacks, its next transaction cannot rename
	s.getsToAnd(t, dir, cannot, writes("SET sql_log_bin = 0", "RENAME TABLE truth.extra TO truth.hidden"), "--binlogs", logs, "--until-position", position(cannot))
	contains(t, s.further(dir, "--binlogs", logs, "--until-position", position(last)).want(t, 1).stdout, "is kept", "extra")
	s.mends(t, dir, "RENAME TABLE truth.hidden TO truth.extra", "--binlogs", logs, "--until-position", position(cannot)) // it stands there
	s.getsTo(t, dir, last, "--binlogs", logs, "--until-position", position(last))
}

// mends changes something in a copy, where it stands, without a trace in its log.
func (s *shop) mends(t *testing.T, dir, statement string, args ...string) {
	t.Helper()
	var r restore.Result
	check(t, json.Unmarshal([]byte(s.further(dir, append(args, "--start")...).want(t, 0).stdout), &r))
	check(t, s.lab.Adopt(r.PID))
	db := root(t, r.Socket)
	writes("SET sql_log_bin = 0", statement)(t, db)
	check(t, db.Close())
	stop(t, &r)
}
