package extent_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/holdstill/holdstill/internal/extent"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tool(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

func open(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// tally adds up what a campaign has seen: one in which everything changes, or nothing, shows nothing.
type tally struct{ files, told, differ, all int64 }

func (s *tally) String() string {
	return fmt.Sprintf("%d comparisons of %d MiB: %d MiB may differ, %d MiB do", s.files, s.all>>20, s.told>>20, s.differ>>20)
}

func (s *tally) check(t testing.TB) {
	t.Helper()
	t.Log(s)
	if s.differ == 0 || s.told == 0 || s.told > s.all*9/10 {
		t.Errorf("this shows nothing: %v", s)
	}
}

// paranoid reads both files whole: what is not in the ranges must be equal, and the ranges must be in order.
func paranoid(t testing.TB, was, now *os.File, ranges []extent.Range, s *tally) {
	t.Helper()
	info, err := now.Stat()
	must(t, err)
	inOrder(t, ranges, info.Size())
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); at < info.Size(); at += int64(len(b)) {
		n, err := now.ReadAt(b, at)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		clear(a)
		if _, err := was.ReadAt(a[:n], at); err != nil && err != io.EOF { // behind its end there are zeros
			t.Fatal(err)
		}
		for i := 0; i < n; i += page {
			end := min(i+page, n)
			if bytes.Equal(a[i:end], b[i:end]) {
				continue
			}
			s.differ += int64(end - i)
			for j := i; j < end; j++ {
				if a[j] != b[j] && !within(ranges, at+int64(j)) {
					t.Fatalf("%s and %s differ at %d, which is said to be equal (of %d ranges)", was.Name(), now.Name(), at+int64(j), len(ranges))
				}
			}
		}
	}
	s.files, s.all, s.told = s.files+1, s.all+info.Size(), s.told+extent.Total(ranges)
}

func inOrder(t testing.TB, ranges []extent.Range, size int64) {
	t.Helper()
	end := int64(-1)
	for _, r := range ranges {
		if r.Offset <= end || r.Length < 1 || r.End() > size {
			t.Fatalf("the range %+v behind %d in a file of %d bytes", r, end, size)
		}
		end = r.End()
	}
}

func within(ranges []extent.Range, at int64) bool {
	for _, r := range ranges {
		if r.Offset <= at && at < r.End() {
			return true
		}
	}
	return false
}

func changed(t testing.TB, was, now string, s *tally) {
	t.Helper()
	a, b := open(t, was), open(t, now)
	ranges, err := extent.Changed(a, b)
	must(t, err)
	paranoid(t, a, b, ranges, s)
	must(t, errors.Join(a.Close(), b.Close()))
}

// compare looks at every file of now beside its partner, and beside any other: pairs that do not belong together are no excuse.
func compare(t testing.TB, was, now string, random *rand.Rand, s, strangers *tally) {
	t.Helper()
	partners, err := extent.Partners(was, now)
	must(t, err)
	others, err := os.ReadDir(was)
	must(t, err)
	for name, partner := range partners {
		changed(t, filepath.Join(was, partner), filepath.Join(now, name), s)
		other := others[random.IntN(len(others))]
		changed(t, filepath.Join(was, other.Name()), filepath.Join(now, name), strangers)
	}
}

// seeds are what a campaign is drawn from: one, or as many as HOLDSTILL_SEEDS says.
func seeds(t testing.TB) (all []uint64) {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("HOLDSTILL_SEEDS"), "1"))
	must(t, err)
	for seed := range n {
		all = append(all, uint64(seed))
	}
	return all
}

func volume(t testing.TB, fs string, bytes int64) *lab.Volume {
	t.Helper()
	v, err := labtest.New(t).FS(t.Context(), "outer", fs, bytes)
	must(t, err)
	return v
}

func snapshot(t testing.TB, from, to string) {
	t.Helper()
	tool(t, "btrfs", "subvolume", "snapshot", "-r", from, to)
}

var btrfsKinds = map[string]func(t testing.TB, v *lab.Volume, live string){
	"plain": func(testing.TB, *lab.Volume, string) {},
	"zstd":  func(t testing.TB, v *lab.Volume, _ string) { tool(t, "mount", "-o", "remount,compress=zstd", v.Dir) },
	"force-zlib": func(t testing.TB, v *lab.Volume, _ string) {
		tool(t, "mount", "-o", "remount,compress-force=zlib", v.Dir)
	},
	"nodatacow": func(t testing.TB, _ *lab.Volume, live string) { tool(t, "chattr", "+C", live) },
}

// The campaign: whatever happens between two snapshots, all that is not named is equal; also to a file that was not synced yet.
func TestBtrfs(t *testing.T) {
	for kind, prepare := range btrfsKinds {
		for _, seed := range seeds(t) {
			t.Run(fmt.Sprintf("%s/%d", kind, seed), func(t *testing.T) {
				v := volume(t, "btrfs", 2<<30)
				live := filepath.Join(v.Dir, "live")
				tool(t, "btrfs", "subvolume", "create", live)
				prepare(t, v, live)
				p := newPlayer(t, live, seed, 6)
				var s, strangers, unsynced tally
				cut := func(i int) string { return filepath.Join(v.Dir, fmt.Sprintf("cut%d", i)) }
				snapshot(t, live, cut(0))
				for i := 1; i <= 10; i++ {
					p.play(20)
					compare(t, cut(i-1), live, p.random, &unsynced, &strangers)
					snapshot(t, live, cut(i))
					compare(t, cut(i-1), cut(i), p.random, &s, &strangers)
					compare(t, cut(p.random.IntN(i)), cut(i), p.random, &strangers, &strangers)
				}
				s.check(t)
				unsynced.check(t)
				t.Logf("strangers: %v", &strangers)
				p.mustHave("write", "same", "append", "direct", "mmap", "truncate", "punch", "zero", "prealloc", "keep", "clone", "rename", "defrag", "rewrite")
			})
		}
	}
}

// Files on XFS, cut by reflinks, as the image provider cuts its images.
func TestXFS(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			v := volume(t, "xfs", 2<<30)
			live := filepath.Join(v.Dir, "live")
			must(t, os.Mkdir(live, 0o700))
			p := newPlayer(t, live, seed, 6)
			var s, strangers, unsynced tally
			cut := func(i int) string { return filepath.Join(v.Dir, fmt.Sprintf("cut%d", i)) }
			tool(t, "cp", "-a", "--reflink=always", live, cut(0))
			for i := 1; i <= 10; i++ {
				p.play(20)
				compare(t, cut(i-1), live, p.random, &unsynced, &strangers)
				tool(t, "cp", "-a", "--reflink=always", live, cut(i))
				compare(t, cut(i-1), cut(i), p.random, &s, &strangers)
				compare(t, cut(p.random.IntN(i)), cut(i), p.random, &strangers, &strangers)
			}
			unsynced.check(t)
			t.Logf("cuts: %v; strangers: %v", &s, &strangers)
			p.mustHave("write", "same", "append", "direct", "mmap", "truncate", "punch", "zero", "prealloc", "keep", "collapse", "insert", "clone", "rename", "rewrite")
		})
	}
}
