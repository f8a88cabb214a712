package extent_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	page     = 4096
	fileSize = 3 << 20
)

// player does to the files of a directory whatever a program might, drawn from a seed.
type player struct {
	t      testing.TB
	dir    string
	random *rand.Rand
	files  []string
	did    map[string]int // operations that the file system carried out
	names  int
}

func newPlayer(t testing.TB, dir string, seed uint64, files int) *player {
	p := &player{t: t, dir: dir, random: rand.New(rand.NewPCG(seed, 1)), did: map[string]int{}}
	for range files {
		name := p.newName()
		must(t, os.WriteFile(name, p.bytes(fileSize/2+p.random.IntN(fileSize)), 0o600))
		p.files = append(p.files, name)
	}
	small := p.newName() // which may be inline
	must(t, os.WriteFile(small, p.bytes(300), 0o600))
	p.files = append(p.files, small)
	return p
}

func (p *player) newName() string {
	p.names++
	return filepath.Join(p.dir, fmt.Sprintf("file%d", p.names))
}

// bytes are random, or such that compress well, but never the same twice.
func (p *player) bytes(n int) []byte {
	b := make([]byte, n)
	dense := p.random.IntN(2) == 0
	for i := 0; i < n; i += 8 {
		if dense || i%512 == 0 {
			copy(b[i:], fmt.Appendf(nil, "%08x", p.random.Uint32()))
		}
	}
	return b
}

// somewhere is a range within a little more than the file, aligned half of the time.
func (p *player) somewhere(f *os.File) (offset, length int64) {
	info, err := f.Stat()
	must(p.t, err)
	offset = p.random.Int64N(info.Size() + 2*page)
	length = 1 + p.random.Int64N([]int64{100, page, 64 << 10, 512 << 10}[p.random.IntN(4)])
	if p.random.IntN(2) == 0 {
		offset, length = offset/page*page, (length+page-1)/page*page
	}
	return offset, length
}

var operations = map[string]func(*player, *os.File) error{
	"write":    (*player).write,
	"same":     (*player).writeSame,
	"append":   (*player).append,
	"direct":   (*player).direct,
	"mmap":     (*player).mmap,
	"truncate": (*player).truncate,
	"punch":    fallocate(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE),
	"zero":     fallocate(unix.FALLOC_FL_ZERO_RANGE),
	"prealloc": fallocate(0),
	"keep":     fallocate(unix.FALLOC_FL_KEEP_SIZE),
	"collapse": fallocate(unix.FALLOC_FL_COLLAPSE_RANGE),
	"insert":   fallocate(unix.FALLOC_FL_INSERT_RANGE),
	"clone":    (*player).clone,
	"rename":   (*player).rename,
	"defrag":   (*player).defragment,
	"rewrite":  (*player).rewrite,
	"sync":     func(_ *player, f *os.File) error { return f.Sync() },
}

var order = []string{"write", "same", "append", "direct", "mmap", "truncate", "punch", "zero", "prealloc", "keep", "collapse",
	"insert", "clone", "rename", "defrag", "rewrite", "sync", "write", "write", "direct", "mmap", "clone"}

// play does n operations. One that the file system does not know is not counted.
func (p *player) play(n int) {
	p.t.Helper()
	for range n {
		name := order[p.random.IntN(len(order))]
		f, err := os.OpenFile(p.files[p.random.IntN(len(p.files))], os.O_RDWR, 0)
		must(p.t, err)
		err = operations[name](p, f)
		must(p.t, f.Close()) // before the test ends, or the volume could not be cleaned
		switch {
		case err == nil:
			p.did[name]++
		case !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL):
			p.t.Fatalf("%s: %v", name, err)
		}
	}
}

// mustHave wants each of the operations to have been done.
func (p *player) mustHave(names ...string) {
	p.t.Helper()
	p.t.Logf("operations: %v", p.did)
	for _, name := range names {
		if p.did[name] == 0 {
			p.t.Errorf("%s was never done", name)
		}
	}
}

func (p *player) write(f *os.File) error {
	offset, length := p.somewhere(f)
	_, err := f.WriteAt(p.bytes(int(length)), offset)
	return err
}

// writeSame writes what is there: new blocks, the same bytes.
func (p *player) writeSame(f *os.File) error {
	offset, length := p.somewhere(f)
	b := make([]byte, length)
	n, _ := f.ReadAt(b, offset)
	_, err := f.WriteAt(b[:n], offset)
	return err
}

func (p *player) append(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() > 2*fileSize {
		return err
	}
	_, err = f.WriteAt(p.bytes(1+p.random.IntN(100<<10)), info.Size())
	return err
}

func (p *player) direct(f *os.File) error {
	d, err := os.OpenFile(f.Name(), os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	offset, length := p.somewhere(f)
	offset, length = offset/page*page, (length+page-1)/page*page
	aligned, err := unix.Mmap(-1, 0, int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(aligned)
	copy(aligned, p.bytes(int(length)))
	_, err = d.WriteAt(aligned, offset)
	return err
}

func (p *player) mmap(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() < 1 {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	for range 1 + p.random.IntN(8) {
		at := p.random.IntN(len(m))
		copy(m[at:], p.bytes(1+p.random.IntN(2*page)))
	}
	return unix.Munmap(m)
}

func (p *player) truncate(f *os.File) error {
	offset, _ := p.somewhere(f)
	if p.random.IntN(3) > 0 {
		offset = max(offset, fileSize/2) // files shall not all end small
	}
	return f.Truncate(offset)
}

func fallocate(mode uint32) func(*player, *os.File) error {
	return func(p *player, f *os.File) error {
		offset, length := p.somewhere(f)
		if info, err := f.Stat(); err != nil || info.Size() > 2*fileSize {
			return err
		}
		return unix.Fallocate(int(f.Fd()), mode, offset, length)
	}
}

// clone takes a range of any file, this one too, from anywhere, to anywhere.
func (p *player) clone(f *os.File) error {
	from, err := os.Open(p.files[p.random.IntN(len(p.files))])
	if err != nil {
		return err
	}
	defer from.Close()
	offset, length := p.somewhere(f)
	start, _ := p.somewhere(from)
	return unix.IoctlFileCloneRange(int(f.Fd()), &unix.FileCloneRange{Src_fd: int64(from.Fd()),
		Src_offset: uint64(start / page * page), Src_length: uint64((length + page - 1) / page * page), Dest_offset: uint64(offset / page * page)})
}

func (p *player) rename(f *os.File) error {
	for i, name := range p.files {
		if name == f.Name() {
			p.files[i] = p.newName()
			return os.Rename(name, p.files[i])
		}
	}
	return nil
}

func (p *player) defragment(f *os.File) error {
	magic := unix.Statfs_t{}
	if err := unix.Fstatfs(int(f.Fd()), &magic); err != nil || magic.Type != unix.BTRFS_SUPER_MAGIC {
		return unix.EOPNOTSUPP
	}
	if out, err := exec.Command("btrfs", "filesystem", "defragment", "-f", f.Name()).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// rewrite writes the whole file anew, in place: the same offsets, nothing shared.
func (p *player) rewrite(f *os.File) error {
	if p.random.IntN(4) > 0 {
		return unix.EINVAL // seldom: it leaves nothing to share
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(p.bytes(int(min(info.Size(), fileSize))), 0)
	return err
}
