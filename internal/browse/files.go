package browse

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdstill/holdstill/internal/repository"
)

const (
	forever = 365 * 24 * time.Hour // for what the kernel may keep
	// grace is how long a caller that got a signal goes on waiting for the store. Programs do not expect that looking at a file is
	// interrupted, but one that was killed must be able to die.
	grace = 2 * time.Second
)

// files answers the kernel. Everything that it does not implement is refused.
type files struct {
	fuse.RawFileSystem
	ctx   context.Context
	stop  context.CancelFunc
	tree  repository.Tree
	log   *slog.Logger
	nodes inodes
	cache *cache
	open  handles
}

func newFiles(ctx context.Context, tree repository.Tree, root *repository.Node, log *slog.Logger) *files {
	f := &files{RawFileSystem: fuse.NewDefaultRawFileSystem(), tree: tree, log: log, cache: newCache(cacheLimit)}
	f.ctx, f.stop = context.WithCancel(ctx)
	f.nodes.all = map[uint64]*node{}
	f.open.all = map[uint64]*handle{}
	f.nodes.add(nil, root)
	return f
}

// close is called when the kernel will ask no more.
func (f *files) close() { f.stop() }

// String names the file system for go-fuse.
func (f *files) String() string { return source }

// failed tells of a node that cannot be read, once, and gives what the kernel is to say.
func (f *files) failed(n *node, err error) fuse.Status {
	if !n.told.Swap(true) {
		if errors.Is(err, repository.ErrDamaged) {
			f.log.Error("A stored file is damaged: "+err.Error(), "file", n.path())
		} else {
			f.log.Error("A stored file cannot be read: "+err.Error(), "file", n.path())
		}
	}
	return fuse.EIO
}

// await waits for work that the store does, and reports whether it was done before the caller gave up.
func await(done <-chan struct{}, cancel <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-cancel:
	}
	select {
	case <-done:
		return true
	case <-time.After(grace):
		return false
	}
}

// directory gives the listing of a directory.
func (f *files) directory(inode uint64, cancel <-chan struct{}) (*listing, fuse.Status) {
	n := f.nodes.get(inode)
	if n == nil {
		return nil, fuse.ENOENT
	}
	if !n.Mode.IsDir() {
		return nil, fuse.ENOTDIR
	}
	l := f.list(n)
	if !await(l.done, cancel) {
		return nil, fuse.EINTR
	}
	if l.err != nil {
		return nil, f.failed(n, l.err)
	}
	return l, fuse.OK
}

// Lookup finds a name in a directory. That a name is not there is kept by the kernel too.
func (f *files) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	l, status := f.directory(h.NodeId, cancel)
	if status != fuse.OK {
		return status
	}
	out.SetEntryTimeout(forever)
	if n := l.entry(name); n != nil {
		n.describe(out)
	}
	return fuse.OK
}

func (n *node) describe(out *fuse.EntryOut) {
	out.NodeId, out.Generation = n.inode, 1
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	n.attributes(&out.Attr)
}

// attributes as they were on the live server.
func (n *node) attributes(out *fuse.Attr) {
	seconds, nanos := uint64(n.ModTime.Unix()), uint32(n.ModTime.Nanosecond())
	*out = fuse.Attr{
		Ino: n.inode, Mode: n.mode(), Nlink: 1, Owner: fuse.Owner{Uid: n.UID, Gid: n.GID}, Blksize: blockSize,
		Mtime: seconds, Mtimensec: nanos, Ctime: seconds, Ctimensec: nanos, Atime: seconds, Atimensec: nanos,
	}
	switch out.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		out.Size = uint64(len(n.Target))
	case syscall.S_IFREG:
		out.Size = uint64(n.Size)
		out.Blocks = (out.Size + 511) / 512
	}
}

// mode is type and permissions as the kernel writes them.
func (n *node) mode() uint32 {
	m := uint32(n.Mode.Perm())
	switch {
	case n.Mode.IsDir():
		return m | syscall.S_IFDIR
	case n.isLink():
		return m | syscall.S_IFLNK
	}
	return m | syscall.S_IFREG
}

// GetAttr tells owner, mode, times and size.
func (f *files) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := f.nodes.get(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	out.SetTimeout(forever)
	n.attributes(&out.Attr)
	return fuse.OK
}

// Readlink gives a symlink's target as it was on the live server.
func (f *files) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	n := f.nodes.get(h.NodeId)
	if n == nil {
		return nil, fuse.ENOENT
	}
	if !n.isLink() {
		return nil, fuse.EINVAL
	}
	return []byte(n.Target), fuse.OK
}

// OpenDir lets the kernel keep the entries.
func (f *files) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	_, status := f.directory(in.NodeId, cancel)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	return status
}

// ReadDir lists names.
func (f *files) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(cancel, in, func(e fuse.DirEntry, _ *node) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus lists names with their attributes, which saves the kernel a question for each.
func (f *files) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(cancel, in, func(e fuse.DirEntry, n *node) bool {
		entry := out.AddDirLookupEntry(e)
		if entry != nil && n != nil {
			n.describe(entry)
		}
		return entry != nil
	})
}

// readDir gives the entries from the offset on, after . and .., until no more fit.
func (f *files) readDir(cancel <-chan struct{}, in *fuse.ReadIn, add func(fuse.DirEntry, *node) bool) fuse.Status {
	l, status := f.directory(in.NodeId, cancel)
	if status != fuse.OK {
		return status
	}
	self := f.nodes.get(in.NodeId)
	above := self
	if self.parent != nil {
		above = self.parent
	}
	for i := int(in.Offset); i < len(l.entries)+2; i++ {
		e, n := fuse.DirEntry{Off: uint64(i) + 1}, (*node)(nil)
		switch i {
		case 0:
			e.Name, e.Ino, e.Mode = ".", self.inode, self.mode()
		case 1:
			e.Name, e.Ino, e.Mode = "..", above.inode, above.mode()
		default:
			n = l.entries[i-2]
			e.Name, e.Ino, e.Mode = n.Name, n.inode, n.mode()
		}
		if !add(e, n) {
			break
		}
	}
	return fuse.OK
}

// StatFs: how much a store holds is not asked for its files, so there is nothing free and no size, which df leaves out.
func (f *files) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{Bsize: blockSize, Frsize: blockSize, NameLen: 255}
	return fuse.OK
}
