package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// status is what binlog status --json says.
type binlogStatus struct {
	Running  bool   `json:"running"`
	Fault    string `json:"fault"`
	LagBytes *int64 `json:"lag_bytes"`
	Position *struct {
		File   string `json:"file"`
		Offset int64  `json:"offset"`
	} `json:"position"`
	Coverage []struct {
		FromPosition string `json:"from_position"`
	} `json:"coverage"`
	Gaps []struct {
		Reason string `json:"reason"`
		GTIDs  string `json:"gtids"`
	} `json:"gaps"`
}

func (s *shop) binlogStatus() (b binlogStatus) {
	s.t.Helper()
	out := s.holdstill("--json", "binlog", "status").want(s.t, 0).stdout
	check(s.t, json.Unmarshal([]byte(out), &b))
	return b
}

// The archive as people use it: an archiver that runs, a second one that is refused, a clean stop, logs that are given out, and a gap that is told.
func TestBinlogArchive(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, "")
		b := s.binlogStatus()
		if b.Running || b.Position != nil || len(b.Coverage) != 0 {
			t.Errorf("before anything: %+v", b)
		}
		contains(t, s.holdstill("binlog", "list").want(t, 0).stdout, "no binary log is archived yet")

		cmd := s.command(t.Context(), normal, "", "binlog", "archive")
		var log bytes.Buffer
		cmd.Stderr = &log
		check(t, cmd.Start())
		check(t, s.server.Exec(t.Context(), "CREATE DATABASE one", "FLUSH LOGS", "CREATE DATABASE two"))
		for until := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			if b = s.binlogStatus(); b.Running && b.LagBytes != nil && *b.LagBytes == 0 {
				break
			}
			if time.Now().After(until) {
				t.Fatalf("%+v\n%s", b, log.String())
			}
		}
		contains(t, s.holdstill("binlog", "archive", "--once").want(t, 5).stderr, "another run", "holdstill binlog status shop")
		contains(t, s.holdstill("binlog", "status").want(t, 0).stdout, "Archiver runs", "yes", "Coverage", "binlog.000001:4")
		check(t, cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil {
			t.Errorf("stopped with %v:\n%s", err, log.String())
		}
		contains(t, log.String(), "INFO: Archiving binlog.000001")

		s.fetches()
		check(t, s.server.Exec(t.Context(), "CREATE DATABASE three", "FLUSH LOGS", "CREATE DATABASE four", "FLUSH LOGS"))
		check(t, s.server.Exec(t.Context(), "PURGE BINARY LOGS TO '"+s.lastLog()+"'"))
		if b = s.binlogStatus(); b.Running || b.Fault == "" || b.LagBytes != nil {
			t.Errorf("purged, and the archiver is away: %+v", b)
		}
		contains(t, s.holdstill("binlog", "archive", "--once").want(t, 0).stderr, "there is a gap")
		if b = s.binlogStatus(); len(b.Gaps) != 1 || !strings.Contains(b.Gaps[0].Reason, "purged") || b.Gaps[0].GTIDs == "" || len(b.Coverage) != 2 {
			t.Errorf("with a gap: %+v", b)
		}
		contains(t, s.holdstill("binlog", "status").want(t, 0).stdout, "GAP", "purged", "missing")
		check(t, s.server.Stop(t.Context()))
		s.holdstill("binlog", "archive", "--once").want(t, 1)
		if b = s.binlogStatus(); b.Fault == "" || b.Position == nil {
			t.Errorf("the server is away: %+v", b)
		}
	})
}

func (s *shop) lastLog() string {
	if s.server.Build.NewStatements() {
		return s.value("SHOW BINARY LOG STATUS")
	}
	return s.value("SHOW MASTER STATUS")
}

// fetches looks at what is exported, and at what is refused.
func (s *shop) fetches() {
	t := s.t
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	contains(t, s.holdstill("binlog", "list").want(t, 0).stdout, "binlog.000001", "closed", "open")
	s.holdstill("binlog", "fetch", "binlog.000001").want(t, 2)
	s.holdstill("binlog", "fetch", "binlog.000099", "--out", out).want(t, 4)
	s.holdstill("binlog", "fetch", "binlog.000001", "2", "--out", out).want(t, 0)
	ours, theirs := must(os.ReadFile(filepath.Join(out, "binlog.000001")))(t), must(os.ReadFile(filepath.Join(s.server.Datadir, "binlog.000001")))(t)
	if !bytes.Equal(ours, theirs) {
		t.Error("what was fetched is not the server's file")
	}
	if text, err := exec.CommandContext(t.Context(), s.server.Build.Binlog, "--no-defaults", "--verify-binlog-checksum", filepath.Join(out, "binlog.000002")).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	path := filepath.Join(s.state, "binlog", "shop", "00000001-binlog.000001")
	theirs[len(theirs)/2] ^= 1
	check(t, os.WriteFile(path, theirs, 0o600))
	contains(t, s.holdstill("binlog", "fetch", "1", "--out", filepath.Join(out, "again")).want(t, 1).stderr, "damaged", "00000001-binlog.000001 at ")
	check(t, os.WriteFile(path, ours, 0o600))
}
