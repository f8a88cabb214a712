package image_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/snapshot/image"
	"github.com/holdstill/holdstill/internal/snapshot/snapshottest"
)

func TestMain(m *testing.M) { snapshottest.Main(m, image.New()) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func volumes(t *testing.T, outerFS, innerFS string) (outer, inner *lab.Volume) {
	t.Helper()
	l := labtest.New(t)
	outer, err := l.FS(t.Context(), "outer", outerFS, 2<<30)
	must(t, err)
	inner, err = l.ImageOn(t.Context(), outer, "inner", innerFS, 512<<20)
	must(t, err)
	return outer, inner
}

func TestConformance(t *testing.T) {
	for _, kinds := range [][2]string{{"xfs", "ext4"}, {"xfs", "xfs"}, {"btrfs", "ext4"}, {"btrfs", "xfs"}} {
		t.Run(kinds[1]+" on "+kinds[0], func(t *testing.T) {
			outer, inner := volumes(t, kinds[0], kinds[1])
			snapshottest.Run(t, snapshottest.Make{
				Provider: image.New(),
				Undoer:   image.Undoer,
				Outer:    outer.Dir,
				Dir: func(t *testing.T, name string) string {
					dir := filepath.Join(inner.Dir, name)
					must(t, os.Mkdir(dir, 0o700))
					return dir
				},
			})
		})
	}
}

func cover(t *testing.T, path string) (snapshot.Unit, error) {
	t.Helper()
	place, err := mount.Locate(path)
	must(t, err)
	return image.New().Covers(context.Background(), place)
}

func TestCoversRefuses(t *testing.T) {
	expect := func(dir, want string) {
		t.Helper()
		if _, err := cover(t, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("covering %s: %v, want it to say %q", dir, err, want)
		}
	}
	outer, inner := volumes(t, "xfs", "ext4")
	expect("/proc", "ext4 or xfs")
	expect(outer.Dir, "cannot be reflinked") // its image lies on the machine's ext4
	must(t, os.Rename(inner.Image, inner.Image+".moved"))
	if _, err := cover(t, inner.Dir); err != nil {
		t.Errorf("a renamed image is still the image: %v", err)
	}
	must(t, unix.Mount("tmpfs", outer.Dir, "tmpfs", 0, "")) // covers the image
	defer unix.Unmount(outer.Dir, unix.MNT_DETACH)
	expect(inner.Dir, "out of reach")
	must(t, os.WriteFile(inner.Image+".moved", nil, 0o600))
	expect(inner.Dir, "another file")
	must(t, unix.Unmount(outer.Dir, unix.MNT_DETACH))
	must(t, os.Remove(inner.Image+".moved"))
	expect(inner.Dir, "deleted")
}

// The image of a virtual machine is often made with chattr +C on btrfs, which refuses to clone it into an ordinary file. And its
// name may be anything.
func TestNoCopyOnWriteAndTwoImages(t *testing.T) {
	l := labtest.New(t)
	outer, err := l.Btrfs(t.Context(), "outer", 1<<30)
	must(t, err)
	var units []snapshot.Unit
	for i, name := range []string{"plain.img", "no-cow (deleted)\n"} {
		file := filepath.Join(outer.Dir, name)
		must(t, os.WriteFile(file, nil, 0o600))
		if i == 1 {
			tool(t, "chattr", "+C", file)
		}
		must(t, os.Truncate(file, 64<<20))
		tool(t, "mkfs.ext4", "-q", "-F", file)
		loop, err := mount.AttachLoop(file, false)
		must(t, err)
		dir := filepath.Join(l.Dir(), "mnt"+string(rune('0'+i)))
		must(t, os.Mkdir(dir, 0o700))
		must(t, unix.Mount(loop.Path, dir, "ext4", 0, ""))
		must(t, loop.Close())
		t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
		must(t, os.WriteFile(filepath.Join(dir, "file"), []byte(name), 0o600))
		unit, err := cover(t, dir)
		must(t, err)
		units = append(units, unit)
	}
	cut, err := image.New().Prepare(t.Context(), "run-1", units)
	must(t, err)
	tool(t, "sync") // nobody writes: no freeze is needed to be clean
	step := cut.Step()
	refs, err := step.Act(t.Context())
	must(t, err)
	must(t, errors.Join(cut.Settle(t.Context()), cut.Close()))
	for i, unit := range units {
		found, err := image.New().Find(t.Context(), unit, "run-1")
		must(t, err)
		if len(found) != 1 || found[0].Name != refs[i].Name || found[0].Unit != unit.Key {
			t.Errorf("found %+v, want %+v", found, refs[i])
		}
		info, err := os.Stat(refs[i].Detail["path"])
		if err != nil || info.Mode().Perm() != 0o400 {
			t.Errorf("the clone has the mode %v: %v", info.Mode(), err)
		}
	}
	must(t, step.Undo(t.Context()))
	for _, unit := range units {
		found, err := image.New().Find(t.Context(), unit, "")
		if err != nil || len(found) != 0 {
			t.Errorf("left: %+v %v", found, err)
		}
	}
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// A file system that was not frozen over the cut has a journal to be played, which the clone itself is spared.
func TestThawed(t *testing.T) {
	for _, innerFS := range []string{"ext4", "xfs"} {
		t.Run(innerFS, func(t *testing.T) {
			_, inner := volumes(t, "xfs", innerFS)
			unit, err := cover(t, inner.Dir)
			must(t, err)
			unit.Freeze = ""
			cut, err := image.New().Prepare(t.Context(), "run-1", []snapshot.Unit{unit})
			must(t, err)
			defer cut.Close()
			must(t, os.Mkdir(filepath.Join(inner.Dir, "dir"), 0o700))
			must(t, os.WriteFile(filepath.Join(inner.Dir, "dir", "file"), []byte("late"), 0o600))
			must(t, mount.SyncFS(inner.Dir))
			refs, err := cut.Step().Act(t.Context())
			must(t, err)
			must(t, cut.Settle(t.Context()))
			before, err := os.ReadFile(refs[0].Detail["path"])
			must(t, err)
			for range 2 {
				tree, err := image.New().Open(t.Context(), refs[0])
				must(t, err)
				content, err := os.ReadFile(filepath.Join(tree.Path(), "dir", "file"))
				must(t, errors.Join(err, tree.Close()))
				if string(content) != "late" {
					t.Errorf("%q", content)
				}
			}
			after, err := os.ReadFile(refs[0].Detail["path"])
			must(t, err)
			if !bytes.Equal(before, after) {
				t.Error("the clone was changed")
			}
		})
	}
}
