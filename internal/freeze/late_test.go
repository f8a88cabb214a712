package freeze

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// stuck makes a file system whose FIFREEZE hangs in the kernel until release is called: it has something to write, and the file system
// that its image lies on is frozen by somebody else.
func stuck(t *testing.T) (dir string, release func()) {
	t.Helper()
	l := labtest.New(t)
	outer, err := l.FS(t.Context(), "outer", "xfs", 1<<30)
	must(t, err)
	inner, err := l.ImageOn(t.Context(), outer, "inner", "ext4", 256<<20)
	must(t, err)
	rescue(t, outer.Dir)
	rescue(t, inner.Dir)
	must(t, os.WriteFile(filepath.Join(inner.Dir, "dirty"), make([]byte, 1<<20), 0o600))
	if errno := withDir(t, outer.Dir, ioctlFreeze); errno != 0 {
		t.Fatal(errno)
	}
	released := false
	release = func() {
		if !released {
			released = true
			withDir(t, outer.Dir, ioctlThaw)
		}
	}
	t.Cleanup(release)
	return inner.Dir, release
}

func TestLateFreezeIsThawedAtOnce(t *testing.T) {
	dir, release := stuck(t)
	g := start(t, 300*time.Millisecond, dir)
	step := g.Step("run")
	begin := time.Now()
	_, err := step.Act(t.Context())
	if waited := time.Since(begin); !errors.Is(err, ErrThawedEarly) || waited < 300*time.Millisecond || waited > time.Second {
		t.Errorf("the step says after %v: %v", waited, err)
	}
	undone := make(chan error, 1)
	go func() { undone <- step.Undo(t.Context()) }()
	select {
	case err := <-undone:
		t.Errorf("the undo did not wait for the freeze in the kernel: %v", err)
	case <-time.After(time.Second):
	}
	release()
	must(t, <-undone)
	if isFrozen(t, dir) {
		t.Error("the late freeze stayed")
	}
}

// Killing a guard whose FIFREEZE is in the kernel does not stop that: the undoer must wait for it, and thaw then.
func TestUndoerWaitsForAFreezeInTheKernel(t *testing.T) {
	dir, release := stuck(t)
	g, err := Start(t.Context(), []string{dir}, 15*time.Second, evidenceFile(t))
	must(t, err)
	step := g.Step("run")
	go func() { _, _ = step.Act(t.Context()) }()
	for g.evidence[0] != freezing {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	must(t, unix.Kill(g.PID(), unix.SIGKILL))
	undone := make(chan error, 1)
	go func() { undone <- Undoer(t.Context(), step.Deed) }()
	select {
	case err := <-undone:
		t.Errorf("the undoer did not wait: %v", err)
	case <-time.After(time.Second):
	}
	release()
	must(t, <-undone)
	if isFrozen(t, dir) {
		t.Error("it froze after the undoer had gone")
	}
	must(t, g.Close())
}

// A guard takes little memory, though it locks all of it.
func TestGuardIsSmall(t *testing.T) {
	dirs := volumes(t, "ext4")
	g := start(t, time.Second, dirs...)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
	must(t, err)
	for _, line := range splitLines(string(status)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			t.Logf("it takes %d KiB", kib)
			if kib == 0 || kib > 64<<10 {
				t.Errorf("the guard takes %d KiB", kib)
			}
		}
	}
}
