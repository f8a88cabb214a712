package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
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
	writer := must(source.Write(t.Context(), lab.WriterOptions{Workers: 1}))(t)
	t.Cleanup(func() { writer.Stop() })
	return s
}

func campaign(t *testing.T, s *shop, wanted func(boundary, kind string) bool, mode ...string) {
	if s.value("SELECT @@global.read_only") == "0" {
		writer := must(s.server.Write(t.Context(), lab.WriterOptions{Workers: 2}))(t)
		defer writer.Stop()
	}
	before := s.look()
	injected := 0
	for _, boundary := range s.passes(mode...) {
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

// passes runs one backup without a fault and tells the boundaries that it passes, in their order.
func (s *shop) passes(mode ...string) []string {
	s.t.Helper()
	trace := filepath.Join(s.run, "trace")
	defer os.Remove(trace)
	cmd := s.command(s.t.Context(), faulty, "", append([]string{"backup"}, mode...)...)
	cmd.Env = append(cmd.Env, "HOLDSTILL_FAULT_TRACE="+trace)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	var passed []string
	for _, boundary := range strings.Fields(string(must(os.ReadFile(trace))(s.t))) {
		if !slices.Contains(passed, boundary) {
			passed = append(passed, boundary)
		}
	}
	if len(passed) < 12 {
		s.t.Fatalf("a backup passes only these boundaries: %v", passed)
	}
	return passed
}
