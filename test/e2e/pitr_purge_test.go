package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// purgedLogs is what binlog purge says.
type purgedLogs struct {
	To    string
	Count int
	Logs  []struct {
		Name   string
		Purge  bool
		Purged bool
		Why    []string
	}
	Replicas []struct {
		ID    uint32 `json:"server_id"`
		State string
	}
}

// why are the reasons why the oldest log stays; "" if it goes.
func (p purgedLogs) why() string {
	if p.Logs[0].Purge {
		return ""
	}
	return strings.Join(p.Logs[0].Why, "; ")
}

func (s *shop) purge(args ...string) (p purgedLogs) {
	s.t.Helper()
	check(s.t, json.Unmarshal([]byte(s.holdstill(append([]string{"--json", "binlog", "purge"}, args...)...).want(s.t, 0).stdout), &p))
	return p
}

// keeps wants nothing to go, for a reason.
func (s *shop) keeps(want string, args ...string) {
	s.t.Helper()
	before := s.onServer()
	p := s.purge(args...)
	if !strings.Contains(p.why(), want) || p.To != "" || p.Count != 0 {
		s.t.Errorf("purge %v: %q is not why, but %q: %+v", args, want, p.why(), p)
	}
	if after := s.onServer(); !slices.Equal(before, after) {
		s.t.Errorf("purge %v: the server has %v, and had %v", args, after, before)
	}
}

// onServer are the logs that the server's own list has.
func (s *shop) onServer() (names []string) {
	s.t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile(filepath.Join(s.server.Datadir, "binlog.index")))(s.t))) {
		names = append(names, filepath.Base(strings.TrimSpace(line)))
	}
	return names
}

func (s *shop) rotated() {
	s.t.Helper()
	for range 3 {
		check(s.t, s.server.Exec(s.t.Context(), "CREATE OR REPLACE VIEW mysql.holdstill_test AS SELECT 1", "FLUSH BINARY LOGS"))
	}
}

// TestPurge removes logs from a server: none that is not archived, or damaged in the archive, or too new, or that a replica lacks, connected or not.
func TestPurge(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, "")
		archive := func() { t.Helper(); s.holdstill("binlog", "archive", "--once").want(t, 0) }
		s.rotated()
		s.keeps("not archived", "--keep-for", "0s")
		archive()
		s.keeps("24h0m0s is wanted")
		all := s.onServer()
		if p := s.purge("--keep-for", "0s", "--dry-run"); p.Count != len(all)-1 || p.To != all[len(all)-1] || len(s.onServer()) != len(all) {
			t.Errorf("dry run: %+v", p)
		}
		s.damaged(all[0])
		s.purges()

		quiet := must(s.lab.Server(t.Context(), build, lab.Spec{Name: "replica"}))(t)
		check(t, quiet.Start(t.Context()))
		check(t, lab.Replicate(t.Context(), s.server, quiet, lab.ReplicateOptions{GTID: true, FromNow: true}))
		s.rotated()
		archive()
		id := strconv.Itoa(quiet.ServerID)
		s.keeps("no account for it", "--keep-for", "0s")
		word := replicaWord(build)
		check(t, quiet.Exec(t.Context(), "STOP "+word))
		s.rotated() // a server notices that a replica is gone when it has something for it
		archive()
		s.eventually("not connected")
		s.keeps("--ignore-replica "+id, "--keep-for", "0s")
		if p := s.purge("--keep-for", "0s", "--dry-run", "--ignore-replica", id); p.Count != len(s.onServer())-1 {
			t.Errorf("without the replica: %+v", p)
		}

		// one that says where it is is asked, and so is one that is known
		account := filepath.Join(s.lab.Dir(), "account.cnf")
		check(t, os.WriteFile(account, []byte("[client]\nuser=repl\npassword=replpw\n"), 0o600))
		s.configure("    binlog:\n      client_option_file: " + account + "\n")
		check(t, quiet.Exec(t.Context(), "SET sql_log_bin = 0", "CREATE USER repl@'%' IDENTIFIED BY 'replpw'", "START "+word))
		db, source := root(t, quiet.Socket), root(t, s.server.Socket)
		defer db.Close()
		defer source.Close()
		arrived(t, source, db, build)
		check(t, quiet.Exec(t.Context(), "STOP "+word+" SQL_THREAD"))
		s.rotated()
		archive()
		p := s.purge("--keep-for", "0s")
		if stays := p.Logs[len(p.Logs)-2]; !p.Logs[0].Purged || stays.Purge || len(p.Replicas) != 1 || !strings.HasPrefix(p.Replicas[0].State, "has executed") {
			t.Errorf("with a replica that applies nothing: %+v", p)
		}
		s.keeps("has not executed it", "--keep-for", "0s")
		address := fmt.Sprintf("127.0.0.1:%d", quiet.Port)
		s.configure(fmt.Sprintf("    binlog:\n      client_option_file: %s\n      servers: [%q]\n", account, address))
		s.keeps("the replica "+address+" has not executed it", "--keep-for", "0s")
		check(t, quiet.Exec(t.Context(), "START "+word+" SQL_THREAD"))
		arrived(t, source, db, build)
		s.purges()
		check(t, quiet.Stop(t.Context()))
		s.rotated()
		archive()
		s.keeps("the replica "+address+" has executed is not known", "--keep-for", "0s")
		if b := s.binlogStatus(); len(b.Gaps) > 0 {
			t.Errorf("gaps: %+v", b.Gaps)
		}
	})
}

// purges wants all to go but the log that the server writes to.
func (s *shop) purges(args ...string) {
	s.t.Helper()
	before := s.onServer()
	p := s.purge(append(args, "--keep-for", "0s")...)
	if after := s.onServer(); p.Count != len(before)-1 || len(after) != 1 || after[0] != before[len(before)-1] {
		s.t.Errorf("the server has %v, and had %v: %+v", after, before, p)
	}
}

func replicaWord(b lab.Build) string {
	if b.Product == lab.MariaDB {
		return "SLAVE"
	}
	return "REPLICA"
}

// eventually waits until the server has noticed who went.
func (s *shop) eventually(want string, args ...string) {
	s.t.Helper()
	for until := time.Now().Add(20 * time.Second); !strings.Contains(s.purge(append(args, "--dry-run", "--keep-for", "0s")...).why(), want); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(until) {
			s.t.Fatalf("%q is not why, but %q", want, s.purge(append(args, "--dry-run", "--keep-for", "0s")...).why())
		}
	}
}

// damaged flips a bit of the archived log for a moment.
func (s *shop) damaged(name string) {
	s.t.Helper()
	path := must(filepath.Glob(filepath.Join(s.state, "binlog", "shop", "*-"+name)))(s.t)[0]
	raw := must(os.ReadFile(path))(s.t)
	raw[len(raw)/2] ^= 1
	check(s.t, os.WriteFile(path, raw, 0o600))
	s.keeps("is damaged", "--keep-for", "0s")
	raw[len(raw)/2] ^= 1
	check(s.t, os.WriteFile(path, raw, 0o600))
}

// TestPurgeWantsTheRepository keeps on the server what the repository has not whole.
func TestPurgeWantsTheRepository(t *testing.T) {
	s := open(t, must(lab.Find("mariadb-10.11"))(t), "")
	s.rotated()
	s.holdstill("binlog", "archive", "--once").want(t, 0)
	s.stockedAt(s.store()) // later than the archive
	s.keeps("not whole in the repository", "--keep-for", "0s")
	s.holdstill("binlog", "archive", "--once").want(t, 0)
	s.purges()
}
