// Package model is a disk that tells what a power cut leaves of it.
//
// Disk keeps every operation that changes something in a log, and the syncs between them. What runs sees the volatile view, in which
// all of them happened. A cut at any index of the log leaves the durable view, which is as strict as POSIX allows:
//
//   - What was written to a file, its length too, is durable after an fsync of that file, and of nothing else.
//   - A name that was made, changed or removed is durable after an fsync of the directory that holds it, and of nothing else: not of
//     the file itself, not of the directory's parent. A rename is one change: both names or none.
//   - What is not durable may be there all the same. Survivors choose: nothing, everything, or any part of it, in any order; of a
//     write the whole, its beginning, or any of its sectors, and then those that are lost read as zeros.
//
// Renames from one directory to another do not exist (EXDEV), nor do hard links: what is tested here needs neither, and file systems
// differ in what a half-synced one leaves. Modes are durable at once.
//
// Mount (mount.go) shows a Disk through FUSE, so that unchanged code runs on it.
package model

import (
	"maps"
	"slices"
	"sync"
	"syscall"
)

// kind of an operation.
type kind int

const (
	makeFile kind = iota // of the name in dir, for the new inode
	makeDir
	rename // name in dir becomes to; what was there is gone
	remove
	write    // of data at offset
	truncate // to offset
	syncInode
	mark // says something about what runs; see Note
)

// op is one entry of the log.
type op struct {
	kind     kind
	inode    uint64 // that is changed; for names the one that they stand for
	dir      uint64
	name, to string
	offset   int64
	data     []byte
	note     any
}

// inode is a file or directory as what runs sees it.
type inode struct {
	dir     bool
	mode    uint32
	content []byte
	names   map[string]uint64
}

const root = 1

// Disk is safe for concurrent use.
type Disk struct {
	mu     sync.Mutex
	log    []op
	inodes map[uint64]*inode
}

// New is an empty disk.
func New() *Disk {
	return &Disk{inodes: map[uint64]*inode{root: {dir: true, mode: 0o700, names: map[string]uint64{}}}}
}

// Len is the length of the log: the cuts that there are lie between 0 and Len.
func (d *Disk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}

// Note puts a remark into the log, between what happened before it and what will happen after it.
func (d *Disk) Note(note any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, op{kind: mark, note: note})
}

// Notes are the remarks before the index n.
func (d *Disk) Notes(n int) []any {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []any
	for _, o := range d.log[:n] {
		if o.kind == mark {
			out = append(out, o.note)
		}
	}
	return out
}

// At is a disk of its own that has seen the first n operations: what is not synced there is still not synced.
func (d *Disk) At(n int) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	other := New()
	for _, o := range d.log[:n] {
		switch o.kind {
		case makeFile, makeDir:
			other.inodes[o.inode] = &inode{dir: o.kind == makeDir, mode: d.inodes[o.inode].mode, names: map[string]uint64{}}
		}
		other.apply(o)
	}
	return other
}

// apply changes the volatile view and writes the log. The lock is held.
func (d *Disk) apply(o op) {
	d.log = append(d.log, o)
	switch o.kind {
	case makeFile, makeDir, rename, remove:
		applyName(d.inodes[o.dir].names, o)
	case write, truncate:
		node := d.inodes[o.inode]
		node.content = applyContent(node.content, o)
	}
}

func applyName(names map[string]uint64, o op) {
	switch o.kind {
	case makeFile, makeDir:
		names[o.name] = o.inode
	case rename:
		delete(names, o.name)
		names[o.to] = o.inode
	case remove:
		delete(names, o.name)
	}
}

func applyContent(content []byte, o op) []byte {
	if o.kind == truncate {
		return grow(content, o.offset)[:o.offset]
	}
	content = grow(content, o.offset+int64(len(o.data)))
	copy(content[o.offset:], o.data)
	return content
}

// grow adds zeros up to the length, and never writes to what others may hold.
func grow(content []byte, length int64) []byte {
	longer := make([]byte, max(length, int64(len(content))))
	copy(longer, content)
	return longer
}

// create makes a file or directory and gives its inode.
func (d *Disk) create(dir uint64, name string, k kind, mode uint32) (uint64, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.inodes[dir].names[name]; there {
		return 0, syscall.EEXIST
	}
	number := slices.Max(slices.Collect(maps.Keys(d.inodes))) + 1
	d.inodes[number] = &inode{dir: k == makeDir, mode: mode, names: map[string]uint64{}}
	d.apply(op{kind: k, dir: dir, name: name, inode: number})
	return number, 0
}

func (d *Disk) rename(dir uint64, from, to string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	number, there := d.inodes[dir].names[from]
	if !there {
		return syscall.ENOENT
	}
	d.apply(op{kind: rename, dir: dir, name: from, to: to, inode: number})
	return 0
}

func (d *Disk) remove(dir uint64, name string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	number, there := d.inodes[dir].names[name]
	if !there {
		return syscall.ENOENT
	}
	if len(d.inodes[number].names) > 0 {
		return syscall.ENOTEMPTY
	}
	d.apply(op{kind: remove, dir: dir, name: name, inode: number})
	return 0
}

func (d *Disk) change(o op) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.apply(o)
}

func (d *Disk) chmod(number uint64, mode uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inodes[number].mode = mode
}

// look gives a copy of what an inode is now, and the inode of the name in it if name is not empty.
func (d *Disk) look(number uint64, name string) (inode, uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	node := *d.inodes[number]
	node.names = maps.Clone(node.names)
	return node, node.names[name]
}
