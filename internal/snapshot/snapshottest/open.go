package snapshottest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// openerVariable makes a test binary a process that opens the ref in it and waits to be killed.
const openerVariable = "HOLDSTILL_TEST_OPEN"

// Main is what TestMain of a make calls.
func Main(m *testing.M, provider snapshot.Provider) {
	if raw := os.Getenv(openerVariable); raw != "" {
		fmt.Println(opener(provider, raw)) // it comes back only with an error
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func opener(provider snapshot.Provider, raw string) error {
	var ref snapshot.Ref
	if err := json.Unmarshal([]byte(raw), &ref); err != nil {
		return err
	}
	tree, err := provider.Open(context.Background(), ref)
	if err != nil {
		return err
	}
	fmt.Println(tree.Path())
	time.Sleep(time.Minute)
	return errors.New("nobody killed me")
}

func (m Make) open(t *testing.T) {
	place, unit := m.covered(t, "open")
	ref := m.cut(t, "run-open", unit)
	before := world(t)
	var trees []snapshot.Tree // held to the end, so that it is Close that closes and not the garbage collector
	for range 3 {
		tree, err := m.Provider.Open(t.Context(), ref)
		must(t, err)
		path, err := tree.Locate(place.Real)
		must(t, err)
		expectFile(t, filepath.Join(path, "file"), "open")
		if err := os.WriteFile(filepath.Join(path, "new"), nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("a cut must be read-only, but writing gave: %v", err)
		}
		if _, err := tree.Locate("/proc"); err == nil {
			t.Error("it locates what was never in it")
		}
		// Another process reaches it too, as long as we live.
		out, err := exec.Command("cat", filepath.Join(path, "file")).CombinedOutput()
		if err != nil || string(out) != "open" {
			t.Errorf("another process reads %q: %v", out, err)
		}
		must(t, tree.Close())
		trees = append(trees, tree)
	}
	same(t, before)
	runtime.KeepAlive(trees)
}

func (m Make) killed(t *testing.T) {
	_, unit := m.covered(t, "killed")
	ref := m.cut(t, "run-killed", unit)
	before := world(t)
	raw, err := json.Marshal(ref)
	must(t, err)
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), openerVariable+"="+string(raw))
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "/proc/") {
		t.Errorf("the opener says %q: %v", line, err)
	} else if slices.Equal(before, world(t)) && unit.Freeze != "" {
		t.Error("the opener attached no loop device: this test would see nothing")
	}
	must(t, child.Process.Kill())
	_ = child.Wait()
	same(t, before)
}

// world lists what an opened cut could leave behind: mounts and loop devices, those of others on this machine too.
func world(t *testing.T) []string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	out := strings.Split(string(mounts), "\n")
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	must(t, err)
	for _, f := range files {
		if raw, err := os.ReadFile(f); err == nil && strings.Contains(string(raw), ".holdstill") {
			out = append(out, string(raw))
		}
	}
	return out
}

// same waits for the kernel, which lets go of mounts and loop devices a little after their last user. Others make
// mounts and loop devices at the same time, so only what names our directory counts.
func same(t *testing.T, before []string) {
	t.Helper()
	var left []string
	for range 100 {
		left = left[:0]
		for _, line := range world(t) {
			if !slices.Contains(before, line) && strings.Contains(line, ".holdstill") {
				left = append(left, line)
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("left behind: %q", left)
}

func (m Make) strange(t *testing.T) {
	for _, name := range []string{"with space", "new\nline\n", "ünïcödé-数据", `back\040slash`, `quo'te"s`, "-dash", "deleted (deleted)"} {
		place, unit := m.covered(t, name)
		ref := m.cut(t, "run-strange", unit)
		tree, err := m.Provider.Open(t.Context(), ref)
		must(t, err)
		path, err := tree.Locate(filepath.Join(place.Real, "file"))
		must(t, err)
		expectFile(t, path, name)
		must(t, errors.Join(tree.Close(), m.Provider.Destroy(t.Context(), ref)))
	}
}

func (m Make) indirect(t *testing.T) {
	place, unit := m.covered(t, "indirect")
	other := t.TempDir()
	link := filepath.Join(other, "link")
	must(t, os.Symlink(place.Real, link))
	bound := filepath.Join(other, "bound to")
	must(t, os.Mkdir(bound, 0o700))
	must(t, unix.Mount(place.Real, bound, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(bound, unix.MNT_DETACH)) })
	for _, dir := range []string{link, bound} {
		at, unit2 := m.cover(t, dir)
		if unit2.Key != unit.Key {
			t.Errorf("%s belongs to %s, but the directory itself to %s", dir, unit2.Key, unit.Key)
		}
		ref := m.cut(t, "run-indirect", unit2)
		tree, err := m.Provider.Open(t.Context(), ref)
		must(t, err)
		for _, real := range []string{at.Real, place.Real} { // one unit serves all mounts of its file system
			path, err := tree.Locate(filepath.Join(real, "file"))
			must(t, err)
			expectFile(t, path, "indirect")
		}
		must(t, errors.Join(tree.Close(), m.Provider.Destroy(t.Context(), ref)))
	}
	if at, err := mount.Locate(bound); err != nil || at.MountPoint != bound {
		t.Errorf("the bind mount lies at %+v: %v", at, err)
	}
}

// noSpace fills the file system of the cuts: each stage may fail then, but what it began can be taken back.
func (m Make) noSpace(t *testing.T) {
	place, unit := m.covered(t, "no space")
	fill(t, m.Outer)
	c, err := m.Provider.Prepare(t.Context(), "run-full", []snapshot.Unit{unit})
	if err != nil {
		t.Logf("prepare: %v", err)
		m.expect(t, unit, "run-full", 0)
		return
	}
	step := c.Step()
	var refs []snapshot.Ref
	frozen(t, unit.Freeze, func() { refs, err = step.Act(t.Context()) })
	t.Logf("act: %v", err)
	if err == nil {
		must(t, c.Settle(t.Context()))
		tree, err := m.Provider.Open(t.Context(), refs[0])
		must(t, err)
		path, err := tree.Locate(filepath.Join(place.Real, "file"))
		must(t, err)
		expectFile(t, path, "no space")
		must(t, tree.Close())
	}
	must(t, errors.Join(step.Undo(t.Context()), c.Close()))
	m.expect(t, unit, "run-full", 0)
}

func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(f.Close(), os.Remove(f.Name()))) })
	for size := 8 << 20; size >= 4096; size /= 2 {
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("filling: %v", err)
		}
		_ = f.Sync()
	}
}

func expectFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, want %q: %v", path, got, want, err)
	}
}
