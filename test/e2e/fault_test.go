package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// TestFaultsAtEveryBoundary injects an error and a SIGKILL at every boundary that a backup passes, runs recover, and looks at the
// world from outside: all must be as before.
func TestFaultsAtEveryBoundary(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		t.Run("hot on btrfs", func(t *testing.T) { campaign(t, open(t, build, onBtrfs), "--mode", "hot") })
		t.Run("hot on image", func(t *testing.T) { campaign(t, open(t, build, onImage), "--mode", "hot") })
		t.Run("locked replica on image", func(t *testing.T) { campaign(t, openReplica(t, build, onImage), "--mode", "locked") })
		t.Run("cold replica on btrfs", func(t *testing.T) { campaign(t, openReplica(t, build, onBtrfs), "--mode", "cold") })
	})
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

func campaign(t *testing.T, s *shop, mode ...string) {
	if s.value("SELECT @@global.read_only") == "0" {
		writer := must(s.server.Write(t.Context(), lab.WriterOptions{Workers: 2}))(t)
		defer writer.Stop()
	}
	before := s.look()
	passed := 0
	for _, boundary := range boundaries(t) {
		for _, kind := range []string{"error", "kill"} {
			o := s.withFault(boundary+":"+kind, append([]string{"backup"}, mode...)...)
			if o.code == 0 && kind == "error" && !strings.Contains(o.stderr, "injected") {
				break // this mode does not pass this boundary
			}
			passed++
			if kind == "kill" && o.code != -1 {
				t.Errorf("%s: the kill did not happen: exit code %d\n%s", boundary, o.code, o.stderr)
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
	t.Logf("%d faults injected", passed)
	if passed < 20 {
		t.Errorf("only %d boundaries were passed: does the list still name them?", passed)
	}
	s.backup(mode...) // and it still works
	s.same(before)
}

func boundaries(t *testing.T) []string {
	t.Helper()
	out := must(exec.Command(faulty, "fault", "list").Output())(t)
	return strings.Fields(string(out))
}
