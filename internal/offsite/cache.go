package offsite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/repository"
)

// cacheLimit is how many bytes of logs stay when nobody uses them. Those that a command needs now may be more.
const cacheLimit = 4 << 30

// Cache keeps logs that came from a repository, for a while. It may be removed at any time; what a command uses is locked, and stays until it ends.
type Cache struct {
	dir string
	mu  sync.Mutex
	use map[string]*os.File
}

// NewCache is the cache in a directory, which is made when it is needed.
func NewCache(dir string) *Cache { return &Cache{dir: dir, use: map[string]*os.File{}} }

// Path is where a log is when it was fetched. Its name tells the length, since an open log grows.
func (c *Cache) Path(s *Stored) string {
	return filepath.Join(c.dir, fmt.Sprintf("%s.%d", s.In.Point, s.Size))
}

// Has tells whether a log is here.
func (c *Cache) Has(s *Stored) bool {
	info, err := os.Stat(c.Path(s))
	return err == nil && info.Size() == s.Size
}

// Close lets go of what was used, and of what is too much.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, f := range c.use {
		_ = f.Close()
		delete(c.use, path)
	}
	return c.evict(cacheLimit)
}

// Fetch brings a log here, whole and as it was stored, and locks it. What is here already is not fetched again.
func (c *Cache) Fetch(ctx context.Context, store repository.Store, s *Stored) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := c.Path(s)
	if c.use[path] != nil || c.lock(path, s.Size) {
		return nil
	}
	if err := durable.MakeDir(c.dir); err != nil {
		return err
	}
	if err := os.Chmod(c.dir, 0o700); err != nil {
		return err
	}
	if err := c.evict(max(0, cacheLimit-s.Size)); err != nil {
		return err
	}
	if err := c.room(s.Size); err != nil {
		return err
	}
	if err := c.fetch(ctx, store, s, path); err != nil {
		return err
	}
	if !c.lock(path, s.Size) {
		return fmt.Errorf("%s was removed again", path)
	}
	return nil
}

// lock takes a file that is here, and whole.
func (c *Cache) lock(path string, size int64) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	info, err := f.Stat()
	if err == nil && info.Size() == size {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH)
	}
	if err == nil {
		_, err = os.Stat(path) // not evicted at that moment
	}
	if err != nil || info.Size() != size {
		_ = f.Close()
		return false
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // used last is removed last
	c.use[path] = f
	return true
}

// fetch writes it under another name first. An earlier, shorter one saves what it has.
func (c *Cache) fetch(ctx context.Context, store repository.Store, s *Stored, path string) error {
	out, err := os.CreateTemp(c.dir, s.In.Point+".*.part")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	defer func() { _ = out.Close() }()
	older, err := c.older(s, path)
	if err != nil {
		return err
	}
	err = c.write(ctx, store, s, out, older)
	if errors.Is(err, repository.ErrNotThere) { // a commit took a tail over at that moment: then it has it
		err = c.write(ctx, store, s, out, older)
	}
	if err != nil {
		return err
	}
	info, err := out.Stat()
	if err == nil && info.Size() != s.Size {
		err = fmt.Errorf("%w: %d bytes were stored, and it should have %d", repository.ErrDamaged, info.Size(), s.Size)
	}
	if err == nil { // a name is trusted for its length, which the bytes would not survive a power cut with
		err = out.Sync()
	}
	if err != nil {
		return err
	}
	if err := os.Rename(out.Name(), path); err != nil {
		return err
	}
	for _, o := range older {
		c.drop(o)
	}
	return nil
}

// older are other lengths of the same log.
func (c *Cache) older(s *Stored, path string) ([]string, error) {
	names, err := fs.Glob(os.DirFS(c.dir), s.In.Point+".*[0-9]")
	var out []string
	for _, name := range names {
		if older := filepath.Join(c.dir, name); older != path {
			out = append(out, older)
		}
	}
	return out, err
}

func (c *Cache) write(ctx context.Context, store repository.Store, s *Stored, out *os.File, older []string) error {
	tree, err := store.Open(ctx, s.In)
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close(ctx) }()
	node, err := fileOf(ctx, tree, s.Name)
	if err != nil {
		return err
	}
	var seed io.ReaderAt
	if len(older) > 0 {
		f, err := os.Open(older[len(older)-1])
		if err == nil {
			defer func() { _ = f.Close() }()
			seed = f
		}
	}
	if err := out.Truncate(s.Size); err != nil {
		return err
	}
	if err := tree.Fetch(ctx, node, out, repository.Fetching{Seed: seed, Progress: func(int64, int64) {}}); err != nil {
		return err
	}
	end := node.Size
	for _, t := range s.In.Tails {
		if t.To <= end {
			continue // a commit has it meanwhile
		}
		data, err := store.ReadTail(ctx, s.In, t)
		if err != nil {
			return err
		}
		if t.From > end {
			return fmt.Errorf("%w: nothing is stored from %d to %d", repository.ErrDamaged, end, t.From)
		}
		if _, err := out.WriteAt(data, t.From); err != nil {
			return err
		}
		end = t.To
	}
	if end < s.Size {
		return fmt.Errorf("%w: nothing is stored from %d to %d", repository.ErrDamaged, end, s.Size)
	}
	return out.Truncate(s.Size) // the log may have grown meanwhile
}

func fileOf(ctx context.Context, tree repository.Tree, name string) (*repository.Node, error) {
	root, err := tree.Root(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := tree.Entries(ctx, root)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(entries, func(n *repository.Node) bool { return n.Name == name && n.Mode.IsRegular() })
	if i < 0 {
		return nil, fmt.Errorf("%w: the file %s is not in its tree", repository.ErrDamaged, name)
	}
	return entries[i], nil
}

// room refuses before the disk is full.
func (c *Cache) room(size int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(c.dir, &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; free < size+64<<20 {
		return fmt.Errorf("%w: %s has %d bytes left, and the log %d", syscall.ENOSPC, c.dir, free, size)
	}
	return nil
}

// evict removes what was used longest ago, and what a killed command left, until no more than limit bytes stay.
func (c *Cache) evict(limit int64) error {
	found, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var all []fs.FileInfo
	var total int64
	for _, e := range found {
		info, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		if strings.HasSuffix(info.Name(), ".part") && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(c.dir, info.Name()))
			continue
		}
		all, total = append(all, info), total+info.Size()
	}
	slices.SortFunc(all, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	for _, info := range all {
		if total > limit && !strings.HasSuffix(info.Name(), ".part") && c.drop(filepath.Join(c.dir, info.Name())) {
			total -= info.Size()
		}
	}
	return nil
}

// drop removes a file that nobody uses.
func (c *Cache) drop(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && os.Remove(path) == nil
}
