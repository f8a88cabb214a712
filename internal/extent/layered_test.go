package extent_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/extent"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/mount"
)

// imageCut is a reflinked copy of an image, mounted as the image provider does it.
type imageCut struct {
	image string
	dir   string
}

func cutImage(t testing.TB, v *lab.Volume, to string) imageCut {
	t.Helper()
	tool(t, "fsfreeze", "--freeze", v.Dir)
	err := reflink(v.Image, to)
	tool(t, "fsfreeze", "--unfreeze", v.Dir)
	must(t, err)
	return imageCut{image: to, dir: mountImage(t, to, v.FS, true)}
}

// cutThawed cuts without a freeze: the journal is played in a copy of the cut.
func cutThawed(t testing.TB, v *lab.Volume, to string) imageCut {
	t.Helper()
	must(t, errors.Join(mount.SyncFS(v.Dir), reflink(v.Image, to), reflink(to, to+".played")))
	return imageCut{image: to + ".played", dir: mountImage(t, to+".played", v.FS, false)}
}

func reflink(from, to string) error {
	a, err := os.Open(from)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlFileClone(int(b.Fd()), int(a.Fd())), b.Close())
}

func mountImage(t testing.TB, image, fs string, frozen bool) string {
	t.Helper()
	loop, err := mount.AttachLoop(image, frozen)
	must(t, err)
	options := []string{"ro"}
	if fs == "xfs" {
		options = append(options, "nouuid")
	}
	if fs == "xfs" && frozen {
		options = append(options, "norecovery")
	}
	tree, err := mount.Private(t.Context(), loop.Path, fs, options...)
	if err != nil {
		t.Fatal(errors.Join(err, loop.Close()))
	}
	t.Cleanup(func() { must(t, errors.Join(tree.Close(), loop.Close())) })
	return tree.Path()
}

func (c imageCut) open(t testing.TB, name string) extent.Layered {
	return extent.Layered{File: open(t, filepath.Join(c.dir, name)), Image: open(t, c.image)}
}

func (c imageCut) names(t testing.TB) (names []string) {
	all, err := os.ReadDir(c.dir)
	must(t, err)
	for _, e := range all {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names
}

func compareImages(t testing.TB, was, now imageCut, random *rand.Rand, s, strangers *tally) {
	t.Helper()
	partners, err := extent.Partners(was.dir, now.dir)
	must(t, err)
	others := was.names(t)
	through := func(partner, name string, s *tally) {
		a, b := was.open(t, partner), now.open(t, name)
		ranges, err := extent.ChangedThrough(a, b)
		must(t, err)
		paranoid(t, a.File, b.File, ranges, s)
		must(t, errors.Join(a.File.Close(), a.Image.Close(), b.File.Close(), b.Image.Close()))
	}
	for name, partner := range partners {
		through(partner, name, s)
		through(others[random.IntN(len(others))], name, strangers)
	}
}

func images(t testing.TB, outerFS, innerFS string) (outer, inner *lab.Volume) {
	t.Helper()
	l := labtest.New(t)
	outer, err := l.FS(t.Context(), "outer", outerFS, 3<<30)
	must(t, err)
	inner, err = l.ImageOn(t.Context(), outer, "inner", innerFS, 400<<20)
	must(t, err)
	return outer, inner
}

// Files inside of images, and the images themselves.
func TestImages(t *testing.T) {
	for _, kind := range [][4]string{{"xfs", "ext4"}, {"xfs", "xfs"}, {"btrfs", "ext4"}, {"btrfs", "xfs"}, {"btrfs", "ext4", "compress-force=zstd"},
		{"xfs", "ext4", "", "thawed"}, {"xfs", "xfs", "", "thawed"}} {
		for _, seed := range seeds(t) {
			t.Run(fmt.Sprintf("%s on %s %s%s/%d", kind[1], kind[0], kind[2], kind[3], seed), func(t *testing.T) {
				outer, inner := images(t, kind[0], kind[1])
				if kind[2] != "" {
					tool(t, "mount", "-o", "remount,"+kind[2], outer.Dir)
				}
				cut := cutImage
				if kind[3] == "thawed" {
					cut = cutThawed
				}
				imageCampaign(t, outer, inner, seed, cut)
			})
		}
	}
}

func imageCampaign(t *testing.T, outer, inner *lab.Volume, seed uint64, cut func(testing.TB, *lab.Volume, string) imageCut) {
	p := newPlayer(t, inner.Dir, seed, 8)
	var s, strangers, whole tally
	cuts := []imageCut{cut(t, inner, filepath.Join(outer.Dir, "cut0"))}
	for i := 1; i <= 5; i++ {
		p.play(40)
		if i%2 == 0 { // freed inner blocks are used again, or go from the image
			tool(t, "fstrim", inner.Dir)
		}
		cuts = append(cuts, cut(t, inner, filepath.Join(outer.Dir, fmt.Sprint("cut", i))))
		compareImages(t, cuts[i-1], cuts[i], p.random, &s, &strangers)
		compareImages(t, cuts[p.random.IntN(i)], cuts[i], p.random, &strangers, &strangers)
	}
	changed(t, cuts[3].image, cuts[4].image, &whole)
	s.check(t)
	t.Logf("images: %v; strangers: %v", &whole, &strangers)
	p.mustHave("write", "same", "append", "direct", "mmap", "truncate", "punch", "zero", "prealloc", "keep", "collapse", "insert", "rename", "rewrite")
}

// The image must be what the inner file system is read from: with another one the addresses would mean nothing.
func TestTheWrongImage(t *testing.T) {
	outer, inner := images(t, "xfs", "ext4")
	must(t, os.WriteFile(filepath.Join(inner.Dir, "file"), make([]byte, page), 0o600))
	cut := cutImage(t, inner, filepath.Join(outer.Dir, "cut"))
	right := cut.open(t, "file")
	wrong := extent.Layered{File: right.File, Image: open(t, inner.Image)}
	if _, err := extent.ChangedThrough(right, wrong); !errors.Is(err, extent.ErrUnknown) {
		t.Errorf("the live image behind a file of the cut: %v", err)
	}
	if _, err := extent.ChangedThrough(extent.Layered{File: right.Image, Image: right.Image}, right); !errors.Is(err, extent.ErrUnknown) {
		t.Errorf("a file that lies in no image: %v", err)
	}
	if _, err := extent.Changed(right.File, right.File); !errors.Is(err, extent.ErrUnknown) {
		t.Errorf("ext4 by itself: %v", err)
	}
	if ranges, err := extent.ChangedThrough(right, right); err != nil || len(ranges) != 0 {
		t.Errorf("a file differs from itself: %v %v", ranges, err)
	}
}
