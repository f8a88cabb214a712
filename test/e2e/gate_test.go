package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/mount"
)

// TestNobodyWaitsForTheSlowest: two applications are to be held, of which one cannot be, and takes seconds to come back from that. The
// other, which is held already, is let go at once. Then calls that come while the hold is still being made: neither side may take
// that for a success.
func TestNobodyWaitsForTheSlowest(t *testing.T) {
	l := labtest.New(t)
	place := must(mount.Locate(l.Dir()))(t)
	if !strings.HasPrefix(place.Device, "/dev/") {
		t.Skipf("ATTENTION: not tested: that one which cannot be held keeps no other held, and calls during a pre. A host's snapshot is of disks, and %s lies on %s (%s): it runs where /var/tmp is on a disk",
			l.Dir(), place.FSType, place.Device)
	}
	s := &shop{t: t, lab: l, state: filepath.Join(l.Dir(), "state"), config: filepath.Join(l.Dir(), "holdstill.yaml")}
	s.run = must(os.MkdirTemp("/dev/shm", "holdstill-e2e-"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(s.run) })
	did := filepath.Join(l.Dir(), "did")
	text := "instances:\n"
	for name, scripts := range map[string][2]string{
		"quick": {"echo quick held >> DID", "echo quick released >> DID"},
		"slow":  {"echo slow begins >> DID; sleep 1; false", "sleep 3; echo slow released >> DID"},
	} {
		dir := filepath.Join(l.Dir(), name)
		check(t, os.Mkdir(dir, 0o700))
		config := map[string]any{"pluginName": name, "timeoutInSeconds": 10, "continueBackupOnFailure": false}
		for i, side := range []string{"pre", "post"} {
			path := filepath.Join(dir, side)
			check(t, os.WriteFile(path, []byte("#!/bin/sh\n"+strings.ReplaceAll(scripts[i], "DID", did)+"\n"), 0o700))
			config[side+"ScriptLocation"] = path
		}
		check(t, os.WriteFile(filepath.Join(dir, "plugin.json"), must(json.Marshal(config))(t), 0o600))
		text += fmt.Sprintf("  %s: {kind: scripts, plugin_config: %s/plugin.json, paths: [%s]}\n", name, dir, l.Dir())
	}
	check(t, os.WriteFile(s.config, []byte(text+"hooks:\n  qemu: {instances: [quick, slow]}\n"), 0o600))
	h := hostNamed("qemu")

	if a := s.hook(h, h.pre, 1); a.Outcome != "failed" || !strings.Contains(a.Message, "slow: ") {
		t.Errorf("%+v", a)
	}
	if got := string(must(os.ReadFile(did))(t)); !strings.HasSuffix(got, "quick released\nslow released\n") {
		t.Errorf("in this order:\n%s", got)
	}

	for _, later := range [][]string{h.post, h.pre} {
		cmd := s.command(t.Context(), normal, "", "hook", h.name, h.pre[0])
		check(t, cmd.Start())
		time.Sleep(500 * time.Millisecond)
		a := s.hook(h, later, 1)
		if want := map[string]string{h.post[0]: "aborted", h.pre[0]: "failed"}[later[0]]; a.Outcome != want {
			t.Errorf("%+v", a)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("the first pre, which was given up: %v", err)
		}
	}
	if left := names(t, filepath.Join(s.state, "runs")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
