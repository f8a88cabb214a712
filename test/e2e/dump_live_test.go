package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// Money moves between a table of the first database and one of the second; the first is read before, the second after all the rest.
const (
	firstBank  = "`bank`"
	secondBank = "`the o'ther ``bank``.x`"
	account    = "`z\"ac;count\n-- Dumping data for table ```"
	allMoney   = 1_000_000
)

// likeADump is what the tool itself writes between tables, and at the end.
const likeADump = "'\\'\n--\n-- Table structure for table `moves`\n--\n\nDROP TABLE IF EXISTS `moves`;\nUSE `mysql`;\n/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;\n-- Dump completed\n\\\\'"

func bankStatements() []string {
	return []string{
		"CREATE DATABASE " + firstBank, "CREATE DATABASE " + secondBank, "USE " + firstBank,
		"CREATE TABLE account (id INT PRIMARY KEY, money INT)", fmt.Sprintf("INSERT INTO account VALUES (1, %d)", allMoney),
		"CREATE TABLE filler (id INT PRIMARY KEY AUTO_INCREMENT, t VARCHAR(200))", "INSERT INTO filler (t) VALUES (REPEAT('x', 200)), (" + likeADump + ")",
		"INSERT INTO filler (t) SELECT a.t FROM filler a, filler b, filler c", "INSERT INTO filler (t) SELECT a.t FROM filler a, filler b, filler c", "INSERT INTO filler (t) SELECT a.t FROM filler a, (SELECT 1 FROM filler LIMIT 50) b",
		"CREATE TABLE loose (id INT) ENGINE=MyISAM", "INSERT INTO loose VALUES (7)",
		"CREATE VIEW after_account AS SELECT id FROM loose",
		"CREATE TABLE moves (id INT PRIMARY KEY AUTO_INCREMENT)",
		"CREATE TABLE " + secondBank + "." + account + " (id INT PRIMARY KEY, money INT)", "INSERT INTO " + secondBank + "." + account + " VALUES (1, 0)",
	}
}

// teller moves money, two transactions at once, until stop, which tells how many were committed.
func (s *shop) teller() (moved *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	db := must(s.server.DB())(s.t)
	moved = &atomic.Int64{}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := move(db); err != nil {
					s.t.Errorf("the teller: %v", err)
					return
				}
				moved.Add(1)
				time.Sleep(2 * time.Millisecond) // a new replica is to come near
			}
		})
	}
	return moved, sync.OnceFunc(func() { cancel(); all.Wait(); _ = db.Close() })
}

func move(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{"UPDATE " + firstBank + ".account SET money = money - 1", "UPDATE " + secondBank + "." + account + " SET money = money + 1",
		"INSERT INTO " + firstBank + ".moves VALUES ()"} {
		if _, err := tx.Exec(statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *shop) dumpLive(out string, args ...string) *dumpfile.Manifest {
	s.t.Helper()
	o := s.holdstill(append([]string{"--json", "dump", "--live", "--out", out}, args...)...).want(s.t, 0)
	m := &dumpfile.Manifest{}
	check(s.t, json.Unmarshal([]byte(o.stdout), m))
	return m
}

// TestLiveDump dumps a server that is written to. What is dumped is of one moment, and its coordinates are exactly those of the moment.
func TestLiveDump(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onBtrfs)
		check(t, s.server.Exec(t.Context(), bankStatements()...))
		twin := s.follower(build)
		s.binlogFromHere()
		from := s.gtidNumber(s.ownGTID())
		moved, stop := s.teller()
		defer stop()
		out := filepath.Join(s.lab.Dir(), "live")
		o := s.holdstill("dump", "--live", "--out", out).want(t, 0)
		after := moved.Load()
		contains(t, o.stderr, "bank.loose (MyISAM)", "Dumping table bank.filler...")
		m := must(dumpfile.ReadManifest(out))(t)
		moves := s.liveManifest(m, out)
		if moves == 0 || after <= moves {
			t.Errorf("%d moves dumped, %d made by then: nothing was tried", moves, after)
		}
		if got := s.commitsBefore(m.Position.File, m.Position.Offset); got != moves {
			t.Errorf("%d commits before %+v, and %d moves dumped", got, m.Position, moves)
		}
		if got := s.gtidNumber(m.Position.GTID) - from; got != moves {
			t.Errorf("%d commits in %+v, and %d moves dumped", got, m.Position, moves)
		}
		twin.dumpReplica(from)
		s.liveInterrupted()
		s.liveAltered()
		stop()
		s.loadsWhole(out, moves)
		s.backupWithLiveDump(out)
	})
}

// follower is a replica of the shop, with a configuration of its own.
func (s *shop) follower(build lab.Build) *shop {
	s.t.Helper()
	twin := *s
	twin.server = must(s.lab.Server(s.t.Context(), build, lab.Spec{Name: "twin", Options: []string{"read-only=1"}}))(s.t)
	check(s.t, twin.server.Start(s.t.Context()))
	check(s.t, lab.Replicate(s.t.Context(), s.server, twin.server, lab.ReplicateOptions{GTID: true}))
	twin.config = filepath.Join(s.lab.Dir(), "twin.yaml")
	twin.configure("")
	twin.awaitThreads()
	return &twin
}

// dumpReplica: the coordinates of the source are exact too, and the applier goes on.
func (s *shop) dumpReplica(from int64) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); s.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'bank' AND TABLE_NAME = 'moves'") == "0" ||
		s.value("SELECT COUNT(*) FROM bank.moves") == "0"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("the replica did not come near")
		}
	}
	out := filepath.Join(s.lab.Dir(), "replica")
	m := s.dumpLive(out, "bank.moves")
	rows := m.Files[0].InFile
	if len(m.Sources) != 1 || m.Files[0].Table != "moves" {
		s.t.Fatalf("%+v", m)
	}
	if got := s.gtidNumber(m.Sources[0].GTID) - from; got != rows || rows == 0 {
		s.t.Errorf("%d commits in %+v, and %d moves dumped", got, m.Sources[0], rows)
	}
	contains(s.t, textOf(s.t, filepath.Join(out, m.Files[0].Name)), "-- As a replica: channel", m.Sources[0].GTID)
	s.awaitThreads()
}

// liveManifest wants every table once, no checksum, and gives the dumped moves.
func (s *shop) liveManifest(m *dumpfile.Manifest, out string) (moves int64) {
	s.t.Helper()
	if !m.Live || m.Point != "" || time.Since(m.Moment) > time.Minute {
		s.t.Errorf("%+v", m)
	}
	tables := 0
	for _, f := range m.Files {
		text := textOf(s.t, filepath.Join(out, f.Name))
		contains(s.t, text, "-- Live: ", fmt.Sprintf("As a source: file %s, offset %d", m.Position.File, m.Position.Offset))
		if f.Part != dumpfile.Rows {
			continue
		}
		tables++
		if f.Sum != nil || strings.Count(text, "\nDROP TABLE IF EXISTS `") < 1 || !strings.HasSuffix(text, "-- Dump completed\n") {
			s.t.Errorf("%+v: %.1000s", f, text)
		}
		if f.Table == "moves" {
			moves = f.InFile
		}
	}
	if tables != 5 {
		s.t.Errorf("%d tables: %+v", tables, m.Files)
	}
	return moves
}

func textOf(t testing.TB, file string) string {
	t.Helper()
	in, _, err := dumpfile.Open(file)
	check(t, err)
	defer in.Close()
	var b strings.Builder
	buf := make([]byte, 1<<20)
	for {
		n, err := in.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}

// binlogFromHere begins a new binary log, in which there will be nothing but moves.
func (s *shop) binlogFromHere() {
	s.t.Helper()
	check(s.t, s.server.Exec(s.t.Context(), "FLUSH BINARY LOGS"))
}

// commitsBefore counts them in the binary log itself.
func (s *shop) commitsBefore(file string, offset uint64) (n int64) {
	s.t.Helper()
	db := must(s.server.DB())(s.t)
	defer db.Close()
	rows := must(db.QueryContext(s.t.Context(), "SHOW BINLOG EVENTS IN '"+file+"'"))(s.t)
	defer rows.Close()
	for rows.Next() {
		var log, kind, info string
		var at, server, end uint64
		check(s.t, rows.Scan(&log, &at, &kind, &server, &end, &info))
		if kind == "Xid" && end <= offset {
			n++
		}
	}
	check(s.t, rows.Err())
	return n
}

func (s *shop) ownGTID() string {
	if s.server.Build.Product == lab.MariaDB {
		return s.value("SELECT @@global.gtid_binlog_pos")
	}
	return s.value("SELECT @@global.gtid_executed")
}

var lastNumber = regexp.MustCompile(`(\d+)$`)

// gtidNumber is how many transactions a GTID position of one server has.
func (s *shop) gtidNumber(gtid string) int64 {
	s.t.Helper()
	if strings.Contains(gtid, ",") {
		s.t.Fatalf("%s is of more than one server", gtid)
	}
	return must(strconv.ParseInt(lastNumber.FindString(gtid), 10, 64))(s.t)
}

// liveInterrupted: a kill while commits are held holds nobody, and what was done does not count for the next dump.
func (s *shop) liveInterrupted() {
	s.t.Helper()
	out := filepath.Join(s.lab.Dir(), "interrupted")
	args := []string{"dump", "--live", "bank.account", "bank.moves", "--out", out}
	if o := s.withFault("dump.held:kill", args...); o.code != -1 {
		s.t.Fatalf("the kill did not happen: %d\n%s", o.code, o.stderr)
	}
	s.holdstill("recover").want(s.t, 0)
	check(s.t, s.server.Exec(s.t.Context(), "CREATE TABLE "+firstBank+".nobody (id INT)", "DROP TABLE "+firstBank+".nobody"))
	if o := s.withFault("dump.noted:error", args...); o.code != 1 || !strings.Contains(o.stderr, "begins again") {
		s.t.Errorf("%d: %s", o.code, o.stderr)
	}
	first := names(s.t, out)
	m := s.dumpLive(out, args[2:4]...)
	for _, name := range names(s.t, out) {
		if strings.HasSuffix(name, dumpfile.PartSuffix) || name == dumpfile.UnfinishedName {
			s.t.Errorf("%s is left of %v", name, first)
		}
	}
	if len(m.Files) != 2 {
		s.t.Errorf("%+v", m.Files)
	}
	for _, bad := range [][]string{{"--threads", "3"}, {"--scratch-dir", "/tmp"}, {"horses"}, {"--out", out}} {
		if o := s.holdstill(append([]string{"dump", "--live", "--out", out + "2"}, bad...)...); o.code != 2 && o.code != 4 {
			s.t.Errorf("%v: %d: %s", bad, o.code, o.stderr)
		}
	}
}

// liveAltered: a table that is altered between the snapshot and its turn has no rows in the snapshot. The tool waits meanwhile in the table
// before it, since nobody reads what it writes.
func (s *shop) liveAltered() {
	s.t.Helper()
	check(s.t, s.server.Exec(s.t.Context(), "CREATE TABLE "+firstBank+".later (id INT)", "INSERT INTO "+firstBank+".later VALUES (1)"))
	truncate := func() func() {
		check(s.t, s.server.Exec(s.t.Context(), "TRUNCATE "+firstBank+".later"))
		return func() {}
	}
	o := s.meanwhile("dump.snapshot", truncate, "dump", "--live", "bank.filler", "bank.later", "--out", filepath.Join(s.lab.Dir(), "altered"))
	if o.code != 1 || !strings.Contains(o.stderr, "altered, truncated or dropped during the dump") || !strings.Contains(o.stderr, "name the tables to dump") {
		s.t.Errorf("%d: %s", o.code, o.stderr)
	}
	check(s.t, s.server.Exec(s.t.Context(), "DROP TABLE "+firstBank+".later"))
}

// loadsWhole loads both databases: no money was made or lost.
func (s *shop) loadsWhole(out string, moves int64) {
	s.t.Helper()
	s.load("--from-dump", out, "--into", "shop", "--database", "bank", "--as", "bank2")
	r := s.load("--from-dump", out, "--into", "shop", "--database", secondBank, "--as", "other2")
	if len(r.Tables) != 1 || r.Tables[0].Checked != "row counts equal" {
		s.t.Errorf("%+v", r.Tables)
	}
	here, there := s.value("SELECT money FROM bank2.account"), s.value("SELECT money FROM other2."+account)
	if here != strconv.FormatInt(allMoney-moves, 10) || there != strconv.FormatInt(moves, 10) {
		s.t.Errorf("%s and %s after %d moves", here, there, moves)
	}
	if differ := s.value("SELECT COUNT(*) FROM " + firstBank + ".filler a LEFT JOIN bank2.filler b USING (id) WHERE NOT (BINARY a.t <=> BINARY b.t)"); differ != "0" {
		s.t.Errorf("%s rows differ", differ)
	}
}

// backupWithLiveDump: the point does not say that the dump is of it. A dump that was whole when its run was killed gets its name.
func (s *shop) backupWithLiveDump(whole string) {
	s.t.Helper()
	check(s.t, s.server.Exec(s.t.Context(), "DROP DATABASE bank2", "DROP DATABASE other2", "DROP TABLE "+firstBank+".filler"))
	parent := filepath.Join(s.state, "dumps", "shop")
	check(s.t, errors.Join(os.MkdirAll(parent, 0o700), os.Rename(whole, filepath.Join(parent, "shop-live-unfinished"))))
	s.configure("    dump: live\n")
	o := s.holdstill("backup", "--dump").want(s.t, 0)
	contains(s.t, o.stdout, "Dumped the running server shop", parent+"/shop-live-2")
	p := s.holdstill("--json", "points", "show", "latest").want(s.t, 0).point(s.t)
	if len(p.Dumps) != 0 {
		s.t.Errorf("the point claims %+v", p.Dumps)
	}
	if o := s.holdstill("restore", "--from-dump", p.ID, "--table", "bank.loose", "--into", "shop"); o.code != 4 || !strings.Contains(o.stderr, "has no dump") {
		s.t.Errorf("%d: %s", o.code, o.stderr)
	}
	all := names(s.t, parent)
	if len(all) != 2 {
		s.t.Fatalf("%v", all)
	}
	if m := must(dumpfile.ReadManifest(filepath.Join(parent, all[1])))(s.t); !m.Live || !m.Moment.After(p.TakenAt) {
		s.t.Errorf("%+v", m)
	}
}
