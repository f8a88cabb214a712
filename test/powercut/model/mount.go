package model

import (
	"context"
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount shows the disk at the directory until Unmount. The kernel remembers nothing of it: each operation comes to the log before the
// call that made it returns. It must lie where a reaper finds it, as whoever mounts it may be killed.
func Mount(dir string, d *Disk) (unmount func() error, err error) {
	server, err := fs.Mount(dir, &node{disk: d, number: root}, &fs.Options{
		// No fusermount: what mounts here is root. No locks either: the kernel's own flock will do.
		MountOptions:   fuse.MountOptions{DirectMountStrict: true, FsName: "powercut", Name: "powercut", DisableXAttrs: true},
		RootStableAttr: &fs.StableAttr{Ino: root},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot mount the model at %s: %w", dir, err)
	}
	return server.Unmount, nil
}

// node is an inode of the disk as go-fuse wants it.
type node struct {
	fs.Inode
	disk   *Disk
	number uint64
}

var (
	_ fs.NodeLookuper  = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeReaddirer = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
)

func (n *node) fill(out *fuse.Attr, what inode) {
	out.Size, out.Mode, out.Nlink = uint64(len(what.content)), what.mode|typeOf(what), 1
}

func typeOf(what inode) uint32 {
	if what.dir {
		return syscall.S_IFDIR
	}
	return syscall.S_IFREG
}

func (n *node) child(ctx context.Context, number uint64, out *fuse.EntryOut) *fs.Inode {
	what, _ := n.disk.look(number, "")
	n.fill(&out.Attr, what)
	return n.NewInode(ctx, &node{disk: n.disk, number: number}, fs.StableAttr{Mode: typeOf(what), Ino: number})
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	_, number := n.disk.look(n.number, name)
	if number == 0 {
		return nil, syscall.ENOENT
	}
	return n.child(ctx, number, out), 0
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	what, _ := n.disk.look(n.number, "")
	n.fill(&out.Attr, what)
	return 0
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if mode, ok := in.GetMode(); ok {
		n.disk.chmod(n.number, mode&0o777)
	}
	if size, ok := in.GetSize(); ok {
		n.disk.change(op{kind: truncate, inode: n.number, offset: int64(size)})
	}
	return n.Getattr(ctx, f, out)
}

func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	what, _ := n.disk.look(n.number, "")
	if offset >= int64(len(what.content)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, what.content[offset:])]), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, offset int64) (uint32, syscall.Errno) {
	n.disk.change(op{kind: write, inode: n.number, offset: offset, data: append([]byte{}, data...)})
	return uint32(len(data)), 0
}

func (n *node) Create(ctx context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	number, errno := n.disk.create(n.number, name, makeFile, mode&0o777)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return n.child(ctx, number, out), nil, fuse.FOPEN_DIRECT_IO, 0
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	number, errno := n.disk.create(n.number, name, makeDir, mode&0o777)
	if errno != 0 {
		return nil, errno
	}
	return n.child(ctx, number, out), 0
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return n.disk.remove(n.number, name)
}

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	return n.disk.remove(n.number, name)
}

func (n *node) Rename(_ context.Context, name string, parent fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	other, ok := parent.(*node)
	if !ok || other.number != n.number || flags != 0 {
		return syscall.EXDEV
	}
	return n.disk.rename(n.number, name, to)
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	what, _ := n.disk.look(n.number, "")
	var entries []fuse.DirEntry
	for name, number := range what.names {
		child, _ := n.disk.look(number, "")
		entries = append(entries, fuse.DirEntry{Name: name, Ino: number, Mode: typeOf(child)})
	}
	return fs.NewListDirStream(entries), 0
}

// Fsync is of files and directories; fdatasync counts as much, since it covers the length.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	n.disk.change(op{kind: syncInode, inode: n.number})
	return 0
}
