package extent_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/extent"
	"github.com/holdstill/holdstill/internal/lab"
)

// subvolume makes a btrfs with a subvolume to cut.
func subvolume(t testing.TB, options string, bytes int64) (v *lab.Volume, live string, cut func(name string) string) {
	t.Helper()
	v = volume(t, "btrfs", bytes)
	if options != "" {
		tool(t, "mount", "-o", "remount,"+options, v.Dir)
	}
	live = filepath.Join(v.Dir, "live")
	tool(t, "btrfs", "subvolume", "create", live)
	return v, live, func(name string) string {
		snapshot(t, live, filepath.Join(v.Dir, name))
		return filepath.Join(v.Dir, name)
	}
}

func text(seed uint64, n int) []byte {
	p := &player{random: rand.New(rand.NewPCG(seed, 9))}
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		copy(b[i:], fmt.Appendf(nil, "%08d", p.random.IntN(1000))) // compresses, and is the same nowhere
	}
	return b
}

func cloneRange(t testing.TB, from string, start, length int64, to string, offset int64) {
	t.Helper()
	a, b := open(t, from), must1(t)(os.OpenFile(to, os.O_RDWR|os.O_CREATE, 0o600))
	must(t, unix.IoctlFileCloneRange(int(b.Fd()), &unix.FileCloneRange{Src_fd: int64(a.Fd()), Src_offset: uint64(start), Src_length: uint64(length),
		Dest_offset: uint64(offset)}))
}

// must1 is must for a file, which is closed with the test: an open one would keep the volume from being cleaned.
func must1(t testing.TB) func(*os.File, error) *os.File {
	return func(f *os.File, err error) *os.File {
		t.Helper()
		must(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
}

// seen wants filefrag to see such extents: else a test tests something else.
func seen(t testing.TB, path, flag string) {
	t.Helper()
	out, err := exec.Command("filefrag", "-v", path).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(flag)) {
		t.Fatalf("%s has no %s extents: %v %s", path, flag, err, out)
	}
}

// One compressed extent, shown at the same offset with the same length and address, but another part of it: only the items tell.
func TestAnotherPartOfACompressedExtent(t *testing.T) {
	_, live, cut := subvolume(t, "compress-force=zstd", 1<<30)
	whole, file := filepath.Join(live, "whole"), filepath.Join(live, "file")
	must(t, os.WriteFile(whole, text(1, 128<<10), 0o600))
	tool(t, "sync")
	cloneRange(t, whole, 0, 64<<10, file, 0)
	was := filepath.Join(cut("was"), "file")
	cloneRange(t, whole, 64<<10, 64<<10, file, 0)
	now := filepath.Join(cut("now"), "file")
	cloneRange(t, whole, 0, 64<<10, file, 0)
	again := filepath.Join(cut("again"), "file")
	seen(t, was, "encoded")
	var s tally
	changed(t, was, now, &s)
	if s.differ == 0 {
		t.Error("nothing has changed")
	}
	s = tally{}
	if changed(t, was, again, &s); s.told != 0 {
		t.Errorf("of the same part %d bytes may differ", s.told)
	}
}

func TestCases(t *testing.T) {
	_, live, cut := subvolume(t, "", 1<<30)
	path := func(name string) string { return filepath.Join(live, name) }
	before := map[string]func(name string){
		"prealloc is written": func(n string) { tool(t, "fallocate", "-l", "1M", path(n)) },
		"written is punched":  func(n string) { must(t, os.WriteFile(path(n), text(2, 1<<20), 0o600)) },
		"prealloc is a hole":  func(n string) { tool(t, "fallocate", "-l", "1M", path(n)) },
		"grown by a hole":     func(n string) { must(t, os.WriteFile(path(n), text(3, 100_001), 0o600)) },
		"cut and grown":       func(n string) { must(t, os.WriteFile(path(n), text(4, 1<<20), 0o600)) },
		"inline":              func(n string) { must(t, os.WriteFile(path(n), text(5, 500), 0o600)) },
		"empty":               func(n string) { must(t, os.WriteFile(path(n), nil, 0o600)) },
		"untouched":           func(n string) { must(t, os.WriteFile(path(n), text(6, 1<<20), 0o600)) },
		"in the middle":       func(n string) { must(t, os.WriteFile(path(n), text(7, 1<<20), 0o600)) },
	}
	after := map[string]func(name string){
		"prealloc is written": func(n string) { writeAt(t, path(n), text(12, 8<<10), 64<<10) },
		"written is punched":  func(n string) { tool(t, "fallocate", "-p", "-o", "65536", "-l", "65536", path(n)) },
		"prealloc is a hole":  func(n string) { tool(t, "fallocate", "-p", "-o", "0", "-l", "1M", path(n)) },
		"grown by a hole":     func(n string) { must(t, os.Truncate(path(n), 10<<20)) },
		"cut and grown":       func(n string) { must(t, errors.Join(os.Truncate(path(n), 99_999), os.Truncate(path(n), 1<<20))) },
		"inline":              func(n string) { writeAt(t, path(n), []byte("x"), 300) },
		"empty":               func(n string) { writeAt(t, path(n), text(13, 9<<10), 0) },
		"untouched":           func(string) {},
		"in the middle":       func(n string) { writeAt(t, path(n), []byte("x"), 500_000) },
	}
	most := map[string]int64{"prealloc is written": 8 << 10, "written is punched": 64 << 10, "prealloc is a hole": 0, "grown by a hole": 64 << 10,
		"cut and grown": 1 << 20, "inline": 4096, "empty": 9 << 10, "untouched": 0, "in the middle": 4096}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		before[name](name)
	}
	was := cut("was")
	for name, change := range after {
		change(name)
	}
	now := cut("now")
	seen(t, filepath.Join(was, "inline"), "inline")
	for name := range before {
		t.Run(name, func(t *testing.T) {
			var s tally
			changed(t, filepath.Join(was, name), filepath.Join(now, name), &s)
			if s.told > most[name] {
				t.Errorf("%d bytes may differ, want at most %d", s.told, most[name])
			}
		})
	}
}

func writeAt(t testing.TB, path string, b []byte, offset int64) {
	t.Helper()
	f := must1(t)(os.OpenFile(path, os.O_WRONLY, 0))
	_, err := f.WriteAt(b, offset)
	must(t, errors.Join(err, f.Close()))
}

// nodatacow writes in place, but not what a snapshot shares: the snapshot keeps its bytes, and the map shows it.
func TestNoCopyOnWrite(t *testing.T) {
	_, live, cut := subvolume(t, "nodatacow", 1<<30)
	file := filepath.Join(live, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if out, err := exec.Command("lsattr", file).CombinedOutput(); err != nil || !strings.Contains(strings.Fields(string(out))[0], "C") {
		t.Fatalf("this is not nodatacow: %s %v", out, err)
	}
	must(t, os.WriteFile(file, text(1, 1<<20), 0o600))
	var s tally
	previous := cut("cut0")
	for i := range 5 {
		for j := range 3 { // the first write after a snapshot moves, the next ones are in place
			writeAt(t, file, text(uint64(100+10*i+j), 16<<10), int64(i)*100<<10/page*page)
			tool(t, "sync", file)
		}
		now := cut(fmt.Sprint("cut", i+1))
		changed(t, filepath.Join(previous, "file"), filepath.Join(now, "file"), &s)
		previous = now
	}
	if s.differ == 0 || s.told > 2*s.differ {
		t.Error(&s)
	}
}

// What a rewrite of 4% costs on btrfs, by the size of the writes.
func TestEconomy(t *testing.T) {
	for _, options := range []string{"", "compress-force=zstd", "nodatacow"} {
		for _, size := range []int{4 << 10, 16 << 10} {
			t.Run(fmt.Sprintf("%s %d KiB", options, size>>10), func(t *testing.T) {
				const all = 64 << 20
				_, live, cut := subvolume(t, options, 2<<30)
				file := filepath.Join(live, "file")
				must(t, os.WriteFile(file, text(1, all), 0o600))
				was := cut("was")
				random := rand.New(rand.NewPCG(1, 10))
				f := must1(t)(os.OpenFile(file, os.O_WRONLY, 0))
				for i := range all / 25 / size {
					_, err := f.WriteAt(text(uint64(i+2), size), int64(random.IntN(all/size)*size))
					must(t, err)
				}
				must(t, f.Close())
				var s tally
				changed(t, filepath.Join(was, "file"), filepath.Join(cut("now"), "file"), &s)
				t.Logf("%v: %.2f times", &s, float64(s.told)/float64(s.differ))
				if s.differ < all/30 || s.told > s.differ*16/10 {
					t.Error(&s)
				}
			})
		}
	}
}

func TestUnknown(t *testing.T) {
	_, live, _ := subvolume(t, "", 1<<30)
	other := volume(t, "xfs", 1<<30)
	for _, dir := range []string{live, other.Dir, "/dev/shm"} {
		must(t, os.WriteFile(filepath.Join(dir, "holdstill-extent"), text(1, 1<<20), 0o600))
	}
	defer os.Remove("/dev/shm/holdstill-extent")
	a := filepath.Join(live, "holdstill-extent")
	for _, b := range []string{filepath.Join(other.Dir, "holdstill-extent"), "/dev/shm/holdstill-extent", live, "/dev/null"} {
		for _, pair := range [][2]string{{a, b}, {b, a}} {
			if _, err := extent.Changed(open(t, pair[0]), open(t, pair[1])); !errors.Is(err, extent.ErrUnknown) {
				t.Errorf("%s and %s: %v", pair[0], pair[1], err)
			}
		}
	}
	closed := open(t, a)
	must(t, closed.Close())
	if _, err := extent.Changed(closed, open(t, a)); err == nil || errors.Is(err, extent.ErrUnknown) || !strings.Contains(err.Error(), a) {
		t.Errorf("a closed file: %v", err)
	}
}

func TestData(t *testing.T) {
	for _, fs := range []string{"btrfs", "xfs", "ext4"} {
		t.Run(fs, func(t *testing.T) {
			file := filepath.Join(volume(t, fs, 1<<30).Dir, "file")
			f := must1(t)(os.Create(file))
			check := func(want ...extent.Range) {
				t.Helper()
				if got, err := extent.Data(f); err != nil || !slices.Equal(got, want) {
					t.Errorf("%v %v, want %v", got, err, want)
				}
			}
			check()
			must(t, f.Truncate(4<<20))
			check()
			writeAt(t, file, text(1, 128<<10), 1<<20)
			writeAt(t, file, text(1, 100), 4<<20)
			must(t, f.Sync())
			check(extent.Range{Offset: 1 << 20, Length: 128 << 10}, extent.Range{Offset: 4 << 20, Length: 100})
			tool(t, "fallocate", "-p", "-o", "1114112", "-l", "4096", file)
			check(extent.Range{Offset: 1 << 20, Length: 64 << 10}, extent.Range{Offset: 1<<20 + 68<<10, Length: 60 << 10},
				extent.Range{Offset: 4 << 20, Length: 100})
		})
	}
}

func TestPartners(t *testing.T) {
	_, live, cut := subvolume(t, "", 1<<30)
	must(t, os.Mkdir(filepath.Join(live, "db"), 0o700))
	for _, name := range []string{"stays", "db/renamed", "copied over", "removed"} {
		must(t, os.WriteFile(filepath.Join(live, name), []byte(name), 0o600))
	}
	was := cut("was")
	must(t, os.Rename(filepath.Join(live, "db/renamed"), filepath.Join(live, "new name")))
	tool(t, "cp", filepath.Join(live, "copied over"), filepath.Join(live, "copy"))
	must(t, os.Rename(filepath.Join(live, "copy"), filepath.Join(live, "copied over")))
	must(t, os.Remove(filepath.Join(live, "removed")))
	must(t, os.WriteFile(filepath.Join(live, "new"), nil, 0o600))
	must(t, os.Symlink("stays", filepath.Join(live, "link")))
	got, err := extent.Partners(was, cut("now"))
	must(t, err)
	want := map[string]string{"stays": "stays", "new name": "db/renamed", "copied over": "copied over"}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
