package btrfs_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/snapshot/btrfs"
	"github.com/holdstill/holdstill/internal/snapshot/snapshottest"
)

func TestMain(m *testing.M) { snapshottest.Main(m, btrfs.New()) }

func subvolume(t *testing.T, path string) string {
	t.Helper()
	if out, err := exec.Command("btrfs", "subvolume", "create", "--", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestConformance(t *testing.T) {
	volume, err := labtest.New(t).Btrfs(t.Context(), "vol", 512<<20)
	if err != nil {
		t.Fatal(err)
	}
	snapshottest.Run(t, snapshottest.Make{
		Provider: btrfs.New(),
		Undoer:   btrfs.Undoer,
		Outer:    volume.Dir,
		Dir:      func(t *testing.T, name string) string { return subvolume(t, filepath.Join(volume.Dir, name)) },
	})
}

func cover(path string) (snapshot.Unit, error) {
	place, err := mount.Locate(path)
	if err != nil {
		return snapshot.Unit{}, err
	}
	return btrfs.New().Covers(context.Background(), place)
}

func TestCoversRefuses(t *testing.T) {
	volume, err := labtest.New(t).Btrfs(t.Context(), "vol", 512<<20)
	if err != nil {
		t.Fatal(err)
	}
	sub := subvolume(t, filepath.Join(volume.Dir, "sub"))
	for _, dir := range []string{"data/db", "data-old", "plain"} {
		must(t, os.MkdirAll(filepath.Join(sub, dir), 0o700))
	}
	subvolume(t, filepath.Join(sub, "data/db/nested"))
	subvolume(t, filepath.Join(sub, "data-old/other"))
	must(t, os.MkdirAll(filepath.Join(volume.Dir, "directory"), 0o700))

	refused := map[string]string{
		volume.Dir:                    "top level",
		filepath.Join(sub, "data"):    "data/db/nested is a subvolume",
		filepath.Join(sub, "data/db"): "db/nested is a subvolume",
		sub:                           "is a subvolume",
		"/proc":                       "proc",
	}
	for dir, want := range refused {
		if _, err := cover(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("covering %s: %v, want it to say %q", dir, err, want)
		}
	}
	keys := map[string]bool{}
	for _, dir := range []string{"sub/plain", "directory", "sub/data/db/nested"} {
		unit, err := cover(filepath.Join(volume.Dir, dir))
		must(t, err)
		keys[unit.Key] = true
	}
	if len(keys) != 3 {
		t.Errorf("three subvolumes gave the keys %v", keys)
	}
}

func TestCloneAndReopenByUUID(t *testing.T) {
	volume, err := labtest.New(t).Btrfs(t.Context(), "vol", 512<<20)
	must(t, err)
	sub := subvolume(t, filepath.Join(volume.Dir, "data"))
	must(t, os.MkdirAll(filepath.Join(sub, "db"), 0o700))
	must(t, os.WriteFile(filepath.Join(sub, "db/file"), []byte("before"), 0o600))
	unit, err := cover(sub)
	must(t, err)
	cut, err := btrfs.New().Prepare(t.Context(), "run", []snapshot.Unit{unit})
	must(t, err)
	refs, err := cut.Step().Act(t.Context())
	must(t, err)
	must(t, errors.Join(cut.Settle(t.Context()), cut.Close()))
	must(t, os.WriteFile(filepath.Join(sub, "db/file"), []byte("after"), 0o600))

	top, err := mount.Private(t.Context(), volume.Device, "btrfs", "subvolid=5")
	must(t, err)
	defer top.Close()
	inSnapshot := filepath.Join(top.Path(), ".holdstill", refs[0].Name, "new")
	if err := os.WriteFile(inSnapshot, nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("the snapshot itself must be read-only, but writing gave: %v", err)
	}

	refs[0].Detail["device"] = "/dev/gone" // a reboot gave the device another name
	tree, err := btrfs.New().Open(t.Context(), refs[0])
	must(t, err)
	defer tree.Close()
	cloner := tree.(snapshot.Cloner)
	target := filepath.Join(volume.Dir, "target")
	must(t, os.Mkdir(target, 0o700))
	must(t, cloner.Clone(t.Context(), sub, target))
	content, err := os.ReadFile(filepath.Join(target, "db/file"))
	if err != nil || string(content) != "before" {
		t.Errorf("the clone holds %q: %v", content, err)
	}
	must(t, os.WriteFile(filepath.Join(target, "db/file"), []byte("mine"), 0o600))
	if err := cloner.Clone(t.Context(), filepath.Join(sub, "db"), filepath.Join(volume.Dir, "t2")); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("cloning a directory: %v", err)
	}
	if err := cloner.Clone(t.Context(), sub, filepath.Join(t.TempDir(), "t3")); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("cloning to another file system: %v", err)
	}
	if err := cloner.Clone(t.Context(), sub, target); err == nil {
		t.Error("it cloned over a directory that is not empty")
	}
	must(t, tree.Close())
	must(t, btrfs.New().Destroy(t.Context(), refs[0]))
	if visible, err := os.Stat(filepath.Join(volume.Dir, ".holdstill")); err != nil || visible.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the snapshots: %v %v", visible, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
