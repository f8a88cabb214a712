package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/restore"
)

// TestFaultsAtEveryBoundary injects an error and a SIGKILL at every boundary that a backup passes, runs recover, and looks at the
// world from outside: all must be as before.
func TestFaultsAtEveryBoundary(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		t.Run("hot on btrfs", func(t *testing.T) { campaign(t, open(t, build, onBtrfs), both, "--mode", "hot") })
		t.Run("hot on image", func(t *testing.T) { campaign(t, open(t, build, onImage), both, "--mode", "hot") })
		t.Run("locked replica on image", func(t *testing.T) { campaign(t, openReplica(t, build, onImage), both, "--mode", "locked") })
		t.Run("cold replica on btrfs", func(t *testing.T) { campaign(t, openReplica(t, build, onBtrfs), slow, "--mode", "cold") })
	})
}

// both injects everything. slow is for runs that take many seconds: it kills at every boundary, and leaves the errors out,
// which go the same way as those of the other modes, but for the three steps that only it has.
func both(string, string) bool { return true }

func slow(boundary, kind string) bool {
	return kind == "kill" || strings.HasSuffix(boundary, ".acted")
}

// openReplica makes a source that is written to and a replica of it under Holdstill's care, read-only as replicas are.
func openReplica(t *testing.T, build lab.Build, storage string) *shop {
	t.Helper()
	l := labtest.New(t)
	source := must(l.Server(t.Context(), build, lab.Spec{Name: "source"}))(t)
	check(t, source.Start(t.Context()))
	s := openIn(t, l, build, storage, "shop", lab.Spec{Options: []string{"read-only=1"}})
	check(t, lab.Replicate(t.Context(), source, s.server, lab.ReplicateOptions{GTID: true}))
	// Slow enough for an applier on a busy machine: a new replica has to come near.
	writer := must(source.Write(t.Context(), lab.WriterOptions{Workers: 1, Pause: 30 * time.Millisecond}))(t)
	t.Cleanup(func() { writer.Stop() })
	s.awaitThreads()
	return s
}

func campaign(t *testing.T, s *shop, wanted func(boundary, kind string) bool, mode ...string) {
	if s.value("SELECT @@global.read_only") == "0" {
		writer := must(s.server.Write(t.Context(), lab.WriterOptions{Workers: 2}))(t)
		defer writer.Stop()
	}
	before := s.look()
	injected := 0
	for _, boundary := range s.passes(append([]string{"backup"}, mode...)...) {
		for _, kind := range []string{"error", "kill"} {
			if !wanted(boundary, kind) {
				continue
			}
			injected++
			o := s.withFault(boundary+":"+kind, append([]string{"backup"}, mode...)...)
			if kind == "kill" && o.code != -1 {
				t.Errorf("%s: the kill did not happen: exit code %d", boundary, o.code)
			}
			if r := s.holdstill("recover"); r.code != 0 {
				t.Errorf("%s:%s: recover ended with %d\n%s%s", boundary, kind, r.code, r.stdout, r.stderr)
			}
			s.usable()
			s.same(before)
			if t.Failed() {
				t.Fatalf("at %s:%s\n%s", boundary, kind, o.stderr)
			}
		}
	}
	t.Logf("%d faults injected", injected)
	s.backup(mode...) // and it still works
	s.same(before)
}

// passes runs a command without a fault and tells the boundaries that it passes, in their order.
func (s *shop) passes(args ...string) []string {
	s.t.Helper()
	trace := filepath.Join(s.run, "trace")
	defer os.Remove(trace)
	cmd := s.command(s.t.Context(), faulty, "", args...)
	cmd.Env = append(cmd.Env, "HOLDSTILL_FAULT_TRACE="+trace)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	passed := traced(s.t, trace)
	if len(passed) < 9 {
		s.t.Fatalf("%v passes only these boundaries: %v", args, passed)
	}
	return passed
}

// traced reads the boundaries of a trace, each once.
func traced(t *testing.T, trace string) []string {
	t.Helper()
	var passed []string
	for _, boundary := range strings.Fields(string(must(os.ReadFile(trace))(t))) {
		if !slices.Contains(passed, boundary) {
			passed = append(passed, boundary)
		}
	}
	return passed
}

// TestFaultsOfARestore does the same to a restore and to a new replica: what they made is gone, what was there is as before.
func TestFaultsOfARestore(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := openReplica(t, build, onBtrfs)
		p := s.backup()
		for name, args := range map[string][]string{
			"restore": {"restore", p.ID, "--start"},
			"replica": {"replica", p.ID, "--catch-up", "1m"},
		} {
			t.Run(name, func(t *testing.T) { s.restoreCampaign(t, args) })
		}
	})
}

func (s *shop) restoreCampaign(t *testing.T, args []string) {
	target := filepath.Join(s.volume.Dir, "target")
	args = append(args, "--datadir", target)
	before := s.look()
	boundaries := s.passes(append([]string{"--json"}, args...)...)
	s.removeServer(t, target)
	for _, boundary := range boundaries {
		o := s.withFault(boundary+":kill", args...)
		if o.code != -1 {
			t.Errorf("%s: the kill did not happen: exit code %d\n%s", boundary, o.code, o.stderr)
		}
		s.holdstill("recover").want(t, 0)
		for _, left := range []string{target, target + ".conf"} {
			if _, err := os.Lstat(left); err == nil {
				t.Errorf("%s: %s is left", boundary, left)
			}
		}
		if pids := serversOn(t, target); len(pids) > 0 {
			t.Errorf("%s: servers are left: %v", boundary, pids)
		}
		s.same(before)
		if t.Failed() {
			t.Fatal(o.stderr)
		}
	}
	t.Logf("%d faults injected", len(boundaries))
}

// serversOn lists the processes that have the directory on their command line or in their option file's name.
func serversOn(t *testing.T, dir string) []string {
	t.Helper()
	var pids []string
	for _, f := range must(filepath.Glob("/proc/[0-9]*/cmdline"))(t) {
		line, _ := os.ReadFile(f)
		if name, _, _ := strings.Cut(string(line), "\x00"); strings.Contains(string(line), dir) &&
			(strings.HasSuffix(name, "mysqld") || strings.HasSuffix(name, "mariadbd")) {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}

// removeServer kills what the unharmed run left running, and its files.
func (s *shop) removeServer(t *testing.T, dir string) {
	t.Helper()
	for _, pid := range serversOn(t, dir) {
		stop(t, &restore.Result{PID: must(strconv.Atoi(pid))(t)})
	}
	if err := exec.Command("btrfs", "subvolume", "delete", dir).Run(); err != nil {
		check(t, os.RemoveAll(dir))
	}
	check(t, os.RemoveAll(dir+".conf"))
}
