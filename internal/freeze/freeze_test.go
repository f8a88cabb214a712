package freeze

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/undo"
)

func TestFreezeAndThaw(t *testing.T) {
	dirs := volumes(t, "xfs", "ext4", "btrfs")
	g := start(t, 10*time.Second, append(dirs, dirs[0])...) // one of them twice
	step := g.Step("run")
	for _, dir := range dirs {
		if isFrozen(t, dir) {
			t.Fatalf("%s is frozen before the step", dir)
		}
	}
	before := time.Now()
	at, err := step.Act(t.Context())
	must(t, err)
	for _, dir := range dirs {
		if !isFrozen(t, dir) {
			t.Errorf("%s is not frozen", dir)
		}
	}
	asked := time.Now()
	must(t, step.Undo(t.Context()))
	after := time.Now()
	for _, dir := range dirs {
		if isFrozen(t, dir) {
			t.Errorf("%s is still frozen", dir)
		}
	}
	must(t, step.Undo(t.Context()))
	times := g.Times()
	t.Logf("freeze %v, thaw %v", times.Frozen.Sub(times.Asked), after.Sub(asked))
	if times.Frozen != at || times.Asked.Before(before) || times.Frozen.Before(times.Asked) || times.Thawed.Before(asked) || times.Thawed.After(after) {
		t.Errorf("times %+v, but it was between %v and %v", times, before, after)
	}
	must(t, g.Close())
	must(t, g.Close())
	expectGone(t, g.evidencePath)
}

func TestCloseThawsWithoutUndo(t *testing.T) {
	dirs := volumes(t, "ext4")
	g := start(t, 10*time.Second, dirs...)
	_, err := g.Step("run").Act(t.Context())
	must(t, err)
	must(t, g.Close())
	if isFrozen(t, dirs[0]) {
		t.Error("closing the guard left it frozen")
	}
}

func TestDeadlineMakesTheCutVoid(t *testing.T) {
	dirs := volumes(t, "ext4", "xfs")
	g := start(t, 200*time.Millisecond, dirs...)
	step := g.Step("run")
	_, err := step.Act(t.Context())
	must(t, err)
	awaitThaw(t, dirs[0], 2*time.Second)
	awaitThaw(t, dirs[1], 2*time.Second)
	if err := step.Undo(t.Context()); !errors.Is(err, ErrThawedEarly) {
		t.Errorf("undo after the deadline: %v", err)
	}
	must(t, step.Undo(t.Context()))
	if held := g.Times().Thawed.Sub(g.Times().Asked); held < 200*time.Millisecond || held > time.Second {
		t.Errorf("the freeze lasted %v", held)
	}
}

func TestThawedBySomebodyElse(t *testing.T) {
	dirs := volumes(t, "ext4")
	g := start(t, 10*time.Second, dirs...)
	step := g.Step("run")
	_, err := step.Act(t.Context())
	must(t, err)
	withDir(t, dirs[0], ioctlThaw)
	if err := step.Undo(t.Context()); !errors.Is(err, ErrThawedEarly) {
		t.Errorf("undo after somebody's thaw: %v", err)
	}
}

func TestFrozenBySomebodyElseIsNeverThawed(t *testing.T) {
	dirs := volumes(t, "ext4", "xfs")
	if errno := withDir(t, dirs[1], ioctlFreeze); errno != 0 {
		t.Fatal(errno)
	}
	defer withDir(t, dirs[1], ioctlThaw)
	g := start(t, 10*time.Second, dirs...)
	step := g.Step("run")
	_, err := step.Act(t.Context())
	if !errors.Is(err, ErrFrozenByOthers) || !strings.Contains(err.Error(), "cannot freeze "+dirs[1]) {
		t.Errorf("the step says: %v", err)
	}
	if isFrozen(t, dirs[0]) {
		t.Error("what we froze before was not thawed")
	}
	must(t, step.Undo(t.Context()))
	must(t, Undoer(t.Context(), step.Deed))
	must(t, g.Close())
	if !isFrozen(t, dirs[1]) {
		t.Error("we thawed somebody else's freeze")
	}
}

func TestParentKilled(t *testing.T) {
	dirs := volumes(t, "xfs", "ext4")
	evidence := evidenceFile(t)
	c := startChild(t, 15*time.Second, evidence, dirs...)
	must(t, c.Process.Kill())
	t.Logf("thawed %v after the kill", awaitThaw(t, dirs[0], 2*time.Second).Round(time.Microsecond))
	awaitThaw(t, dirs[1], 2*time.Second)
	must(t, Undoer(t.Context(), c.deed))
	must(t, Undoer(t.Context(), c.deed))
	expectGone(t, evidence)
}

func TestParentStopped(t *testing.T) {
	dirs := volumes(t, "xfs", "ext4")
	c := startChild(t, time.Second, evidenceFile(t), dirs...)
	must(t, c.Process.Signal(syscall.SIGSTOP))
	if !isFrozen(t, dirs[0]) {
		t.Error("thawed too early")
	}
	t.Logf("thawed after %v", awaitThaw(t, dirs[0], 3*time.Second).Round(time.Millisecond))
	awaitThaw(t, dirs[1], time.Second)
}

func TestGuardIgnoresSignals(t *testing.T) {
	dirs := volumes(t, "ext4")
	g := start(t, 10*time.Second, dirs...)
	step := g.Step("run")
	_, err := step.Act(t.Context())
	must(t, err)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGQUIT} {
		must(t, syscall.Kill(g.PID(), s))
	}
	time.Sleep(50 * time.Millisecond)
	if !isFrozen(t, dirs[0]) {
		t.Error("a signal made the guard thaw")
	}
	must(t, step.Undo(t.Context()))
}

func TestGuardKilledParentThaws(t *testing.T) {
	dirs := volumes(t, "ext4", "xfs")
	g := start(t, 10*time.Second, dirs...)
	step := g.Step("run")
	_, err := step.Act(t.Context())
	must(t, err)
	must(t, syscall.Kill(g.PID(), syscall.SIGKILL))
	must(t, step.Undo(t.Context())) // it stood still until now
	for _, dir := range dirs {
		if isFrozen(t, dir) {
			t.Errorf("%s is still frozen", dir)
		}
	}
}

// awaitStopped waits until every thread of a process stands still: the signal is on its way when kill returns.
func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		must(t, err)
		runs := slices.IndexFunc(threads, func(path string) bool {
			stat, err := os.ReadFile(path)
			return err == nil && !strings.Contains(string(stat), ") T ")
		})
		if runs < 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the guard does not stop")
		}
	}
}

func TestGuardStoppedParentThaws(t *testing.T) {
	dirs := volumes(t, "ext4")
	g := start(t, 10*time.Second, dirs...)
	step := g.Step("run")
	_, err := step.Act(t.Context())
	must(t, err)
	must(t, syscall.Kill(g.PID(), syscall.SIGSTOP))
	defer syscall.Kill(g.PID(), syscall.SIGCONT)
	awaitStopped(t, g.PID()) // else it may still thaw, and not say so
	begin := time.Now()
	must(t, step.Undo(t.Context()))
	if isFrozen(t, dirs[0]) {
		t.Error("still frozen")
	}
	t.Logf("thawed beside a stopped guard in %v", time.Since(begin).Round(time.Millisecond))
	must(t, syscall.Kill(g.PID(), syscall.SIGCONT))
}

func killBoth(t *testing.T, c child) {
	t.Helper()
	must(t, syscall.Kill(c.guard, syscall.SIGKILL))
	must(t, c.Process.Kill())
	_ = c.Wait()
	for range 200 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.guard))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the guard does not die")
}

func TestBothKilledUndoerThaws(t *testing.T) {
	dirs := volumes(t, "xfs", "ext4", "btrfs")
	evidence := evidenceFile(t)
	c := startChild(t, 15*time.Second, evidence, dirs...)
	killBoth(t, c)
	for _, dir := range dirs {
		if !isFrozen(t, dir) {
			t.Fatalf("%s is not frozen: this test would show nothing", dir)
		}
	}
	must(t, Undoer(t.Context(), c.deed))
	for _, dir := range dirs {
		if isFrozen(t, dir) {
			t.Errorf("%s is still frozen", dir)
		}
	}
	expectGone(t, evidence)
}

func TestUndoerLeavesOthersAlone(t *testing.T) {
	dirs := volumes(t, "ext4")
	c := startChild(t, 15*time.Second, evidenceFile(t), dirs...)
	must(t, c.Process.Kill())
	awaitThaw(t, dirs[0], 2*time.Second)
	withDir(t, dirs[0], ioctlFreeze)
	defer withDir(t, dirs[0], ioctlThaw)
	must(t, Undoer(t.Context(), c.deed))
	if !isFrozen(t, dirs[0]) {
		t.Error("the undoer thawed somebody else's freeze")
	}
}

func TestUndoerAfterReboot(t *testing.T) {
	dirs := volumes(t, "ext4")
	evidence := evidenceFile(t)
	c := startChild(t, 15*time.Second, evidence, dirs...)
	killBoth(t, c)
	var a args
	must(t, json.Unmarshal(c.deed.Args, &a))
	a.Boot = "another"
	rebooted := c.deed
	rebooted.Args, _ = json.Marshal(a)
	must(t, Undoer(t.Context(), rebooted))
	if !isFrozen(t, dirs[0]) {
		t.Error("a deed of another boot thawed something")
	}
	expectGone(t, evidence)
	withDir(t, dirs[0], ioctlThaw)
}

func TestUnmountedWhileFrozen(t *testing.T) {
	dirs := volumes(t, "ext4")
	evidence := evidenceFile(t)
	c := startChild(t, 15*time.Second, evidence, dirs...)
	var a args
	must(t, json.Unmarshal(c.deed.Args, &a))
	killBoth(t, c)
	keep, err := os.Open(dirs[0]) // so that the test can get at it again
	must(t, err)
	must(t, unix.Unmount(dirs[0], unix.MNT_DETACH))
	err = Undoer(t.Context(), c.deed)
	if err == nil || !strings.Contains(err.Error(), a.Points[0].Device) || !strings.Contains(err.Error(), "fsfreeze --unfreeze") {
		t.Errorf("the undoer says: %v", err)
	}
	// What the text says: mount it again, anywhere, and the Undoer finds it by itself.
	elsewhere := filepath.Join(filepath.Dir(dirs[0]), "elsewhere")
	must(t, os.Mkdir(elsewhere, 0o700))
	must(t, unix.Mount(a.Points[0].Device, elsewhere, "ext4", unix.MS_NOATIME, ""))
	must(t, keep.Close())
	must(t, Undoer(t.Context(), c.deed))
	if isFrozen(t, elsewhere) {
		t.Error("still frozen")
	}
	expectGone(t, evidence)
	must(t, unix.Mount(a.Points[0].Device, dirs[0], "ext4", unix.MS_NOATIME, ""))
	must(t, unix.Unmount(elsewhere, 0))
}

func TestStartRefuses(t *testing.T) {
	dirs := volumes(t, "ext4")
	for want, begin := range map[string]func() (*Guard, error){
		"is to be frozen":   func() (*Guard, error) { return Start(t.Context(), dirs, time.Second, filepath.Join(dirs[0], "e")) },
		"nothing to freeze": func() (*Guard, error) { return Start(t.Context(), nil, time.Second, evidenceFile(t)) },
		"no deadline":       func() (*Guard, error) { return Start(t.Context(), dirs, 0, evidenceFile(t)) },
		"/no/such/directory": func() (*Guard, error) {
			return Start(t.Context(), []string{"/no/such/directory"}, time.Second, evidenceFile(t))
		},
	} {
		if _, err := begin(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("start says %v, want %q", err, want)
		}
	}
	taken := evidenceFile(t)
	must(t, os.WriteFile(taken, []byte("F"), 0o600))
	if _, err := Start(t.Context(), dirs, time.Second, taken); !errors.Is(err, os.ErrExist) {
		t.Errorf("start over another run's evidence: %v", err)
	}
	if left, err := os.ReadFile(taken); err != nil || string(left) != "F" {
		t.Errorf("another run's evidence is %q now: %v", left, err)
	}
}

func TestNotFreezable(t *testing.T) {
	g := start(t, time.Second, "/dev")
	step := g.Step("run")
	if _, err := step.Act(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot freeze /dev: its file system cannot be frozen") {
		t.Errorf("the step says: %v", err)
	}
	must(t, step.Undo(t.Context()))
}

// The whole way, with a real ledger: a run that freezes and ends without thawing is unwound.
func TestWithLedger(t *testing.T) {
	dirs := volumes(t, "ext4")
	g := start(t, 10*time.Second, dirs...)
	run, err := undo.Begin(t.TempDir(), "run", "instance", undo.Registry{Kind: Undoer}, slog.New(slog.DiscardHandler))
	must(t, err)
	_, receipt, err := undo.Do(t.Context(), run, g.Step("run"))
	must(t, err)
	if !receipt.Open() || !isFrozen(t, dirs[0]) {
		t.Error("it did not freeze")
	}
	must(t, errors.Join(run.Unwind(t.Context()), run.End()))
	if isFrozen(t, dirs[0]) {
		t.Error("unwinding did not thaw")
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"/srv/data": "/srv/data", "/a b": "'/a b'", "/it's": `'/it'\''s'`, "": "''", "/a\nb": "'/a\nb'", "/$x/y": "'/$x/y'"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
