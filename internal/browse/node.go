package browse

import (
	"context"
	"hash/fnv"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdstill/holdstill/internal/repository"
)

// node is a file, directory or symlink that the kernel may ask for. Nodes are kept until the view ends: they are the cache of entries.
type node struct {
	*repository.Node
	inode  uint64
	parent *node
	told   atomic.Bool // that it cannot be read

	mu      sync.Mutex
	listing *listing          // of a directory
	reader  repository.Reader // of a file that is open
	opened  int
}

// listing is a directory that is being read, or was.
type listing struct {
	done    chan struct{}
	entries []*node
	err     error
}

// path is the node's, from the root.
func (n *node) path() string {
	if n.parent == nil {
		return "/"
	}
	return path.Join(n.parent.path(), n.Name)
}

// entry finds a name in a listing, which is sorted.
func (l *listing) entry(name string) *node {
	i, found := slices.BinarySearchFunc(l.entries, name, func(n *node, name string) int { return strings.Compare(n.Name, name) })
	if !found {
		return nil
	}
	return l.entries[i]
}

// inodeBits leave the kernel's overlayfs bits of its own.
const inodeBits = 48

// inodes are all nodes. A number comes from the path, so that it is the same in the next view of the point.
type inodes struct {
	mu  sync.RWMutex
	all map[uint64]*node
}

func (t *inodes) add(parent *node, of *repository.Node) *node {
	n := &node{Node: of, parent: parent}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(n.path()))
	inode := hash.Sum64() & (1<<inodeBits - 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if parent == nil {
		inode = fuse.FUSE_ROOT_ID
	}
	for inode == 0 || t.all[inode] != nil { // two paths with one number: very rare
		inode = (inode + 1) & (1<<inodeBits - 1)
	}
	n.inode = inode
	t.all[inode] = n
	return n
}

func (t *inodes) get(inode uint64) *node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.all[inode]
}

// list reads a directory once; whoever comes meanwhile waits for the same.
func (f *files) list(n *node) *listing {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listing != nil {
		return n.listing
	}
	l := &listing{done: make(chan struct{})}
	n.listing = l
	go f.fill(f.ctx, n, l)
	return l
}

func (f *files) fill(ctx context.Context, n *node, l *listing) {
	defer close(l.done)
	entries, err := f.tree.Entries(ctx, n.Node)
	if err != nil {
		l.err = err
		n.mu.Lock()
		n.listing = nil // the next one tries again
		n.mu.Unlock()
		return
	}
	for _, e := range entries {
		l.entries = append(l.entries, f.nodes.add(n, e))
	}
	slices.SortFunc(l.entries, func(a, b *node) int { return strings.Compare(a.Name, b.Name) })
}
