// Package powercut shows what a power cut leaves of Holdstill's promises: on a model of a disk that loses everything unsynced, at every
// single operation, and on a real disk whose power is cut under a server in the middle of every stage of a backup.
//
// It covers the ledger, the catalogue and the points. There is no repository yet; shipped points belong here when there is one.
package powercut

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/test/powercut/model"
)

// bench is where models are mounted and what cuts left is laid out: in a lab, so that it is gone whatever happens.
type bench struct {
	t     *testing.T
	mount string // one model at a time
	plain string // on a tmpfs, where syncs cost nothing
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := labtest.New(t).Dir()
	b := &bench{t, filepath.Join(dir, "model"), filepath.Join(dir, "plain")}
	check(t, os.Mkdir(b.mount, 0o700))
	check(t, os.Mkdir(b.plain, 0o700))
	check(t, unix.Mount("tmpfs", b.plain, "tmpfs", 0, "mode=700,size=256m"))
	return b
}

// on runs something on the disk.
func (b *bench) on(disk *model.Disk, what func(dir string)) {
	b.t.Helper()
	unmount := must(model.Mount(b.mount, disk))(b.t)
	defer func() { check(b.t, unmount()) }()
	what(b.mount)
}

// after lays out what a cut left, and takes it away again.
func (b *bench) after(left model.Tree, what func(dir string)) {
	b.t.Helper()
	dir := must(os.MkdirTemp(b.plain, "cut-"))(b.t)
	check(b.t, left.Write(dir))
	what(dir)
	check(b.t, os.RemoveAll(dir))
}

// TestTheModelLoses runs a careless writer and a careful one: a model that loses nothing would prove nothing.
func TestTheModelLoses(t *testing.T) {
	b, disk := newBench(t), model.New()
	b.on(disk, func(dir string) {
		path := func(name string) string { return filepath.Join(dir, name) }
		write := func(name string, sync bool) {
			f := must(os.Create(path(name)))(t)
			must(f.WriteString("content of " + name))(t)
			if sync {
				check(t, f.Sync())
			}
			check(t, f.Close())
		}
		write("without-any-sync", false)
		write("without-its-own-sync", false)
		write("written-then-renamed", false)
		check(t, os.Rename(path("written-then-renamed"), path("empty-after-rename")))
		check(t, os.Mkdir(path("dir"), 0o700))
		write("dir/lost-with-its-directory", true)
		write("careful", true)
		write("deleted", true)
		check(t, durable.SyncDir(dir))
		write("without-the-directory", true)
		write("longer", true)
		check(t, os.Rename(path("careful"), path("renamed-without-the-directory")))
		check(t, os.Remove(path("deleted")))
		check(t, os.Mkdir(path("late"), 0o700))
		check(t, durable.SyncDir(path("late")))
	})
	all := disk.Cut(disk.Len(), model.Everything())
	lost := disk.Cut(disk.Len(), model.Nothing())
	for name, want := range map[string][2]string{ // after a kill, and after a power cut
		"without-any-sync":              {"content of without-any-sync", ""},
		"without-its-own-sync":          {"content of without-its-own-sync", ""},
		"empty-after-rename":            {"content of written-then-renamed", ""},
		"written-then-renamed":          {"-", "-"},
		"dir/lost-with-its-directory":   {"content of dir/lost-with-its-directory", "-"},
		"without-the-directory":         {"content of without-the-directory", "-"},
		"careful":                       {"-", "content of careful"},
		"renamed-without-the-directory": {"content of careful", "-"},
		"deleted":                       {"-", "content of deleted"},
		"late":                          {"", "-"},
	} {
		for i, tree := range []model.Tree{all, lost} {
			if got := contentOf(tree, name); got != want[i] {
				t.Errorf("%s holds %q in view %d, want %q", name, got, i, want[i])
			}
		}
	}
	b.partly(disk)
}

// partly wants the dice to leave every kind of half: a file that is shorter, one with a hole, and a name without its neighbour.
func (b *bench) partly(disk *model.Disk) {
	found := map[string]bool{}
	for seed := range uint64(200) {
		tree := disk.Cut(disk.Len(), model.Some(seed))
		_, one := tree["renamed-without-the-directory"]
		_, other := tree["late"]
		found["one name without the other"] = found["one name without the other"] || one != other
		text := contentOf(tree, "without-any-sync")
		found["shorter"] = found["shorter"] || len(text) > 0 && len(text) < len("content of without-any-sync")
	}
	for _, what := range []string{"one name without the other", "shorter"} {
		if !found[what] {
			b.t.Errorf("200 throws of the dice left nothing like: %s", what)
		}
	}
}

func contentOf(tree model.Tree, name string) string {
	entry, there := tree[name]
	if !there {
		return "-"
	}
	return string(entry.Content)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
