package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/extent"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// errCut marks an error of the local cut: it does not go away by trying again.
var errCut = errors.New("the cut cannot be read")

// filesAtOnce bounds the open files; the store reads parts of each in parallel anyway.
const filesAtOnce = 4

// contents are the files of a point in its opened cuts.
type contents struct {
	point    *catalog.Point
	trees    map[string]snapshot.Tree // by unit
	root     *repository.Node
	nodes    map[string]*repository.Node // by real path, directories and files
	files    []*file
	bytes    int64
	warnings []string
}

// file is one file that is to be stored.
type file struct {
	node   *repository.Node
	real   string        // on the live server
	inside string        // in the opened cut
	tree   snapshot.Tree // nil: it lies in no cut
	unit   string        // that the tree is the cut of
	inode  uint64
	chunk  int // the length of its pieces, 0: the session's
}

// logChunk is for logs, in bytes: they are written one after the other and not page by page, and short pieces of them hardly compress.
const logChunk = 1 << 20

func (c *contents) chunkOf(real string) int {
	for _, log := range []database.Purpose{database.RedoLog, database.BinaryLog, database.RelayLog} {
		if c.point.Owns(log, path.Base(real)) || c.point.Owns(log, path.Base(path.Dir(real))) {
			return logChunk
		}
	}
	return 0
}

// held says which cut something lies in.
type held struct {
	tree snapshot.Tree
	unit string
}

// open opens the cuts of a point.
func open(ctx context.Context, p *catalog.Point, deps Deps) (*contents, error) {
	root := &repository.Node{Mode: fs.ModeDir | 0o755, ModTime: p.TakenAt}
	c := &contents{point: p, trees: map[string]snapshot.Tree{}, root: root, nodes: map[string]*repository.Node{"/": root}}
	for _, ref := range p.Snapshot.Refs {
		tree, err := deps.Open(ctx, ref)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", errCut, err), c.close())
		}
		c.trees[ref.Unit] = tree
	}
	if len(c.trees) == 0 {
		return nil, fmt.Errorf("%w: there is no local cut of it any more", errCut)
	}
	return c, nil
}

func (c *contents) close() error {
	var all []error
	for _, t := range c.trees {
		all = append(all, t.Close())
	}
	c.trees = nil
	return errors.Join(all...)
}

// list walks everything that belongs to the point. What lies below another path of it is found there.
func (c *contents) list() error {
	for _, l := range c.point.Paths {
		if l.Unit == "" || c.below(l) { // no cut holds it, or another path does
			continue
		}
		if err := c.located(l); err != nil {
			return fmt.Errorf("%w: %s: %w", errCut, l.Place.Real, err)
		}
	}
	c.optionFiles()
	if len(c.files) == 0 {
		return fmt.Errorf("%w: it holds no file of the point", errCut)
	}
	return nil
}

// below tells whether a path is found with the data directory that it lies in: of another volume that is mounted there, the cut of the data
// directory's volume has the empty mount point only.
func (c *contents) below(l catalog.Located) bool {
	return slices.ContainsFunc(c.point.Paths, func(other catalog.Located) bool {
		rel, in := mount.Below(other.Place.Real, l.Place.Real)
		return in && rel != "" && rel != "." && other.Purpose == database.DataDir && other.Unit == l.Unit
	})
}

// located lists one path: a file, a directory of its own, or, where a directory may hold anybody's files, those that are the server's.
func (c *contents) located(l catalog.Located) error {
	tree := c.trees[l.Unit]
	if tree == nil {
		return fmt.Errorf("the point has no cut of %s", l.Unit)
	}
	in := held{tree, l.Unit}
	real := l.Place.Real
	inside, err := tree.Locate(real)
	if err != nil {
		return err
	}
	info, err := os.Stat(inside)
	if errors.Is(err, fs.ErrNotExist) { // of a log's base name only the directory exists
		real, inside = path.Dir(real), filepath.Dir(inside)
		info, err = os.Stat(inside)
	}
	if err != nil {
		return err
	}
	switch {
	case !info.IsDir() && (l.Purpose == database.BinaryLog || l.Purpose == database.RelayLog):
		return c.members(l, path.Dir(real), filepath.Dir(inside), in) // an index stands for its directory
	case !info.IsDir():
		return c.add(real, inside, in)
	case shared(l.Purpose) && !c.point.Owns(l.Purpose, path.Base(real)):
		return c.members(l, real, inside, in)
	}
	return c.walk(real, inside, in, l.Purpose == database.DataDir)
}

// shared purposes name directories in which files of others may lie.
func shared(p database.Purpose) bool {
	return slices.Contains([]database.Purpose{database.RedoLog, database.UndoLog, database.Doublewrite, database.AriaLog,
		database.SystemSpace, database.BinaryLog, database.RelayLog}, p)
}

func (c *contents) members(l catalog.Located, real, inside string, in held) error {
	entries, err := os.ReadDir(inside)
	for _, e := range entries {
		if !c.point.Owns(l.Purpose, e.Name()) {
			continue
		}
		if err := c.walk(path.Join(real, e.Name()), filepath.Join(inside, e.Name()), in, false); err != nil {
			return err
		}
	}
	return err
}

// walk adds a directory or file with all below it; of the data directory without what belongs to the process that ran.
func (c *contents) walk(real, inside string, in held, data bool) error {
	top := inside
	if info, err := os.Stat(inside); err == nil && info.IsDir() {
		top += "/" // the root of a cut may be a link in /proc
	}
	return filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.Trim(p[len(inside):], "/")
		if data && (database.Transient(name) || strings.HasPrefix(name, ".holdstill-")) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return c.add(path.Join(real, name), p, in)
	})
}

// add enters one directory, file or symlink; sockets and pipes belong to processes.
func (c *contents) add(real, inside string, in held) error {
	if !utf8.ValidString(real) {
		return fmt.Errorf("the name %q is not UTF-8: a repository cannot hold it", real)
	}
	var st unix.Stat_t
	stat := unix.Lstat
	if strings.HasSuffix(inside, "/") {
		stat = unix.Stat
	}
	if err := stat(inside, &st); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR && kind != unix.S_IFLNK && kind != unix.S_IFREG {
		return nil
	}
	n := c.node(real)
	n.UID, n.GID, n.ModTime = st.Uid, st.Gid, timeOf(st.Mtim)
	n.Mode = fs.FileMode(st.Mode & 0o777)
	switch kind {
	case unix.S_IFDIR:
		n.Mode |= fs.ModeDir
	case unix.S_IFLNK:
		n.Mode |= fs.ModeSymlink
		target, err := os.Readlink(inside)
		n.Target = target
		return err
	case unix.S_IFREG:
		n.Size = st.Size
		c.files = append(c.files, &file{node: n, real: real, inside: inside, tree: in.tree, unit: in.unit, inode: st.Ino, chunk: c.chunkOf(real)})
		c.bytes += st.Size
	}
	return nil
}

// node finds or makes the entry of a real path; directories above what is shipped are made up.
func (c *contents) node(real string) *repository.Node {
	if n := c.nodes[real]; n != nil {
		return n
	}
	n := &repository.Node{Name: path.Base(real), Mode: fs.ModeDir | 0o755, ModTime: c.point.TakenAt}
	parent := c.node(path.Dir(real))
	parent.Entries = append(parent.Entries, n)
	c.nodes[real] = n
	return n
}

// optionFiles adds the option files that the server read, as they are now: they lie on the system's disk and in no cut. They may hold
// secrets, as the data do.
func (c *contents) optionFiles() {
	for _, f := range c.point.Process.OptionFiles {
		if slices.ContainsFunc(c.files, func(have *file) bool { return have.real == f.Path }) {
			continue
		}
		real, err := filepath.EvalSymlinks(f.Path) // Debian's my.cnf is a link
		if err == nil {
			err = c.add(f.Path, real, held{})
		}
		if err != nil {
			c.warnings = append(c.warnings, fmt.Sprintf("the option file %s is not shipped: %v", f.Path, err))
		}
	}
}

// put stores the files, the longest first, so that no long one is left alone at the end.
func (c *contents) put(ctx context.Context, w repository.Writer, b *base, paranoid bool) error {
	queue := slices.Clone(c.files)
	slices.SortStableFunc(queue, func(a, b *file) int { return int(min(1, max(-1, b.node.Size-a.node.Size))) })
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(filesAtOnce)
	for _, f := range queue {
		group.Go(func() error {
			if err := inner.Err(); err != nil {
				return err
			}
			return f.put(inner, w, b, paranoid)
		})
	}
	return group.Wait()
}

func (f *file) put(ctx context.Context, w repository.Writer, b *base, paranoid bool) error {
	open, err := os.OpenFile(f.inside, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", errCut, err)
	}
	defer open.Close()
	reader := &once{file: open}
	defer reader.forget()
	in := repository.File{Name: f.real, Chunk: f.chunk, Reader: reader, Size: f.node.Size, Paranoid: paranoid}
	in.Data, err = extent.Data(open)
	switch {
	case err != nil:
		in.Data = nil // this file system cannot tell holes from data
	case in.Data == nil:
		in.Data = []extent.Range{} // nothing but a hole
	}
	in.Base, in.Changed = b.compare(f, open)
	f.node.Content, err = w.Put(ctx, in)
	return err
}

// once reads a file that is not needed again: what was read gives its place in the page cache back to the server. Not after each small read:
// the kernel looks through the caches of all processors for pages that were just read, and waits for them.
type once struct {
	file *os.File
	held atomic.Int64
}

const (
	heldOnce  = 1 << 20  // bytes of a read that is worth forgetting on its own, and leaves alone what is read ahead beside it
	heldPages = 64 << 20 // bytes of small reads that may lie in the page cache
)

func (o *once) ReadAt(p []byte, at int64) (int, error) {
	n, err := o.file.ReadAt(p, at)
	if n >= heldOnce {
		_ = unix.Fadvise(int(o.file.Fd()), at, int64(n), unix.FADV_DONTNEED)
	} else if held := o.held.Add(int64(n)); held > heldPages && o.held.CompareAndSwap(held, 0) {
		o.forget()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errCut, err)
	}
	return n, err
}

func (o *once) forget() { _ = unix.Fadvise(int(o.file.Fd()), 0, 0, unix.FADV_DONTNEED) }
