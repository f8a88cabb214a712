package model

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// sector is the piece of a write that survives as a whole or not at all.
const sector = 512

// Survivors decide what a cut leaves of that which was not synced. Each is asked once for every such operation, in their order.
type Survivors struct {
	Name string
	fate func(o op) (whole bool, part []byte)
}

// Nothing that was not synced survives.
func Nothing() Survivors {
	return Survivors{"nothing unsynced", func(op) (bool, []byte) { return false, nil }}
}

// Everything survives, as after kill -9.
func Everything() Survivors {
	return Survivors{"everything unsynced", func(op) (bool, []byte) { return true, nil }}
}

// Some survive, by dice. The seed is in the name, so that what a test prints can be repeated.
func Some(seed uint64) Survivors {
	dice := rand.New(rand.NewPCG(seed, 0))
	return Survivors{fmt.Sprintf("some unsynced, seed %d", seed), func(o op) (bool, []byte) {
		if o.kind != write {
			return dice.IntN(2) == 0, nil
		}
		switch dice.IntN(4) {
		case 0:
			return false, nil
		case 1:
			return true, nil
		case 2:
			return false, o.data[:dice.IntN(len(o.data)+1)]
		}
		return false, sectors(dice, o)
	}}
}

// sectors loses some sectors of a write. The length is that of the last one that survives.
func sectors(dice *rand.Rand, o op) []byte {
	part := bytes.Clone(o.data)
	length := 0
	for begin := 0; begin < len(part); {
		end := min(len(part), int((o.offset+int64(begin))/sector+1)*sector-int(o.offset))
		if dice.IntN(2) == 0 {
			clear(part[begin:end])
		} else {
			length = end
		}
		begin = end
	}
	return part[:length]
}

// Tree is what a cut left: files and directories by their path from the root.
type Tree map[string]Entry

// Entry is a file or a directory.
type Entry struct {
	Dir     bool
	Mode    os.FileMode
	Content []byte
}

// Cut gives what is there after a power cut that came after n operations.
func (d *Disk) Cut(n int, survivors Survivors) Tree {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := map[uint64]map[string]uint64{}
	contents := map[uint64][]byte{}
	lastSync := map[uint64]int{}
	for i, o := range d.log[:n] {
		if o.kind == syncInode {
			lastSync[o.inode] = i
		}
	}
	for i, o := range d.log[:n] {
		changed := o.inode
		if o.kind <= remove {
			changed = o.dir
		}
		if o.kind == mark || o.kind == syncInode {
			continue
		}
		if at, synced := lastSync[changed]; !synced || at < i {
			whole, part := survivors.fate(o)
			if !whole && len(part) == 0 {
				continue
			}
			if !whole {
				o.data = part
			}
		}
		if o.kind >= write {
			contents[o.inode] = applyContent(contents[o.inode], o)
			continue
		}
		if names[o.dir] == nil {
			names[o.dir] = map[string]uint64{}
		}
		applyName(names[o.dir], o)
	}
	tree := Tree{}
	d.gather(tree, root, "", names, contents)
	return tree
}

// gather collects what can be reached from a directory.
func (d *Disk) gather(tree Tree, dir uint64, path string, names map[uint64]map[string]uint64, contents map[uint64][]byte) {
	for name, number := range names[dir] {
		node, at := d.inodes[number], filepath.Join(path, name)
		tree[at] = Entry{Dir: node.dir, Mode: os.FileMode(node.mode & 0o777), Content: contents[number]}
		if node.dir {
			d.gather(tree, number, at, names, contents)
		}
	}
}

// Write puts the tree into a plain directory, which must be there and empty.
func (t Tree) Write(dir string) error {
	for path, entry := range t {
		if entry.Dir {
			if err := os.MkdirAll(filepath.Join(dir, path), 0o700); err != nil {
				return err
			}
		}
	}
	for path, entry := range t {
		if !entry.Dir {
			if err := os.WriteFile(filepath.Join(dir, path), entry.Content, entry.Mode); err != nil {
				return err
			}
		}
	}
	return nil
}
