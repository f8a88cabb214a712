package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// world is what an outsider sees of a server and its storage: nothing here is read from our own records.
type world struct {
	readOnly string
	threads  string
	running  bool
	cuts     []string // snapshots that exist on the volume
	runs     []string // ledgers
	evidence []string // of freezes
}

func (s *shop) look() world {
	s.t.Helper()
	w := world{running: s.server.Running()}
	if w.running {
		w.readOnly = s.value("SELECT @@global.read_only")
		w.threads = s.threads()
	}
	w.cuts = s.cuts()
	w.runs = names(s.t, filepath.Join(s.state, "runs"))
	for _, n := range names(s.t, s.run) {
		if !strings.HasSuffix(n, ".lock") && !strings.HasPrefix(n, "hook-") {
			w.evidence = append(w.evidence, n)
		}
	}
	return w
}

// threads names the replication threads that the server itself shows, not from its replica status: a receiver may be connecting.
func (s *shop) threads() string {
	if s.server.Build.Product == lab.MySQL {
		return s.value("SELECT GROUP_CONCAT(DISTINCT IF(NAME LIKE '%\\_io', 'receiver', 'applier') ORDER BY 1) FROM performance_schema.threads WHERE NAME RLIKE '^thread/sql/(slave|replica)_(io|sql)$'")
	}
	return s.value("SELECT GROUP_CONCAT(DISTINCT IF(COMMAND = 'Slave_IO', 'receiver', 'applier') ORDER BY 1) FROM information_schema.PROCESSLIST WHERE COMMAND IN ('Slave_IO', 'Slave_SQL')")
}

// awaitThreads waits until replication runs, and its receiver is connected.
func (s *shop) awaitThreads() {
	s.t.Helper()
	connected := func() bool {
		return s.threads() == "applier,receiver" &&
			s.value("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE RLIKE '^Waiting for (master|source) to send event$'") != "0"
	}
	for deadline := time.Now().Add(20 * time.Second); !connected(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("replication does not run; threads: %q", s.threads())
		}
	}
}

// cuts lists the snapshots on the storage with tools that are not ours.
func (s *shop) cuts() []string {
	var found []string
	if s.outer != nil {
		found = names(s.t, filepath.Join(s.outer.Dir, ".holdstill"))
	} else {
		out := must(exec.Command("btrfs", "subvolume", "list", s.volume.Dir).CombinedOutput())(s.t)
		for line := range strings.Lines(string(out)) {
			if path := strings.TrimSpace(line[strings.LastIndex(line, " path ")+6:]); strings.Contains(path, ".holdstill/") {
				found = append(found, filepath.Base(path))
			}
		}
	}
	slices.Sort(found)
	return found
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// usable proves that the file system takes writes and the server takes commits and DDL: no freeze, no lock. Each probe is
// bounded; a frozen file system is thawed by the rescuer, and the test fails.
func (s *shop) usable() {
	s.t.Helper()
	probe := filepath.Join(s.volume.Dir, ".probe")
	done := make(chan error, 1)
	go func() { done <- errorsOf(os.WriteFile(probe, []byte("x"), 0o600), os.Remove(probe)) }()
	select {
	case err := <-done:
		check(s.t, err)
	case <-time.After(5 * time.Second):
		_ = exec.Command("fsfreeze", "--unfreeze", s.volume.Dir).Run()
		<-done
		s.t.Fatalf("%s was frozen", s.volume.Dir)
	}
	if !s.server.Running() {
		return
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	ddl := []string{"SET SESSION lock_wait_timeout = 5", "CREATE DATABASE IF NOT EXISTS probe", "CREATE OR REPLACE VIEW probe.v AS SELECT 1"}
	if s.value("SELECT @@global.read_only") == "0" {
		ddl = append(ddl, "CREATE TABLE IF NOT EXISTS probe.t (a INT)", "INSERT INTO probe.t VALUES (1)", "DROP TABLE probe.t")
	}
	if err := s.server.Exec(ctx, ddl...); err != nil {
		s.t.Fatalf("the server does not take writes: %v", err)
	}
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// same compares what was with what is, and wants every cut to be of a recorded point and nothing else left.
func (s *shop) same(before world) {
	s.t.Helper()
	after := s.look()
	if after.running != before.running || after.readOnly != before.readOnly {
		s.t.Errorf("server running %v, read_only %s; before %v, %s", after.running, after.readOnly, before.running, before.readOnly)
	}
	for deadline := time.Now().Add(10 * time.Second); after.threads != before.threads && time.Now().Before(deadline); after = s.look() {
		time.Sleep(50 * time.Millisecond) // a receiver that was started again is connecting
	}
	if after.threads != before.threads {
		s.t.Errorf("replication threads %q, before %q", after.threads, before.threads)
	}
	if len(after.runs) > 0 || len(after.evidence) > 0 {
		s.t.Errorf("left behind: ledgers %v, evidence %v", after.runs, after.evidence)
	}
	points := s.holdstill("points", "list", "--json").want(s.t, 0).stdout
	for _, cut := range after.cuts {
		if !strings.Contains(points, cut) {
			s.t.Errorf("the cut %s belongs to no point", cut)
		}
	}
}
