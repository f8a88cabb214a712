package snapshottest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/snapshot"
)

// writer appends record n to the file "a", syncs, then appends it to "b" and syncs: at no moment has b a record that a lacks.
type writer struct {
	acked atomic.Int64
	stop  atomic.Bool
	ended chan error
}

func startWriter(dir string) *writer {
	w := &writer{ended: make(chan error, 1)}
	go func() { w.ended <- w.write(dir) }()
	return w
}

func (w *writer) write(dir string) error {
	var files [2]*os.File
	for i, name := range []string{"a", "b"} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		files[i] = f
	}
	for n := int64(1); !w.stop.Load(); n++ {
		for _, f := range files {
			if _, err := fmt.Fprintf(f, "%08d\n", n); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
		}
		w.acked.Store(n)
	}
	return nil
}

func (m Make) oneMoment(t *testing.T) {
	place, unit := m.covered(t, "moment")
	w := startWriter(place.Real)
	for i := range 5 {
		time.Sleep(50 * time.Millisecond)
		before := w.acked.Load()
		start := time.Now()
		ref := m.cut(t, fmt.Sprintf("run-%d", i), unit)
		t.Logf("prepare to settle in %v", time.Since(start).Round(time.Microsecond))
		after := w.acked.Load()
		m.check(t, ref, place.Real, before, after+1)
	}
	w.stop.Store(true)
	must(t, <-w.ended)
}

// check reads the cut: whole records from 1 on, all that were acknowledged before it, none from after it.
func (m Make) check(t *testing.T, ref snapshot.Ref, real string, least, most int64) {
	t.Helper()
	tree, err := m.Provider.Open(t.Context(), ref)
	must(t, err)
	defer func() { must(t, tree.Close()) }()
	var count [2]int64
	for i, name := range []string{"a", "b"} {
		path, err := tree.Locate(filepath.Join(real, name))
		must(t, err)
		content, err := os.ReadFile(path)
		must(t, err)
		for line := range strings.Lines(string(content)) {
			count[i]++
			if line != fmt.Sprintf("%08d\n", count[i]) {
				t.Fatalf("record %d of %s is %q", count[i], name, line)
			}
		}
		if count[i] < least || count[i] > most {
			t.Errorf("%s has %d records, want %d to %d", name, count[i], least, most)
		}
	}
	if a, b := count[0], count[1]; b > a || b < a-1 {
		t.Errorf("a has %d records and b %d: no moment was like that", a, b)
	}
}

// frozen runs act with the mount point frozen ("": without). A rescuer in a session of its own thaws if we do not come back.
func frozen(t *testing.T, mountpoint string, act func()) {
	t.Helper()
	if mountpoint == "" {
		start := time.Now()
		act()
		t.Logf("act %v", time.Since(start).Round(time.Microsecond))
		return
	}
	dir, err := os.Open(mountpoint)
	must(t, err)
	defer dir.Close()
	rescue := exec.Command("sh", "-c", `sleep 20; fsfreeze -u "$1"`, "rescue", mountpoint)
	rescue.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	rescue.Dir = "/"
	must(t, rescue.Start())
	defer func() {
		_ = syscall.Kill(-rescue.Process.Pid, syscall.SIGKILL)
		_ = rescue.Wait()
	}()
	start := time.Now()
	must(t, freezeIoctl(dir, 0xC0045877))
	defer func() {
		must(t, freezeIoctl(dir, 0xC0045878))
		t.Logf("whole window %v", time.Since(start).Round(time.Microsecond))
	}()
	stood := time.Now()
	act()
	t.Logf("freeze %v, act %v", stood.Sub(start).Round(time.Microsecond), time.Since(stood).Round(time.Microsecond))
}

func freezeIoctl(dir *os.File, request uint) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), uintptr(request), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
