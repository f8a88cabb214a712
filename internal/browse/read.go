package browse

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdstill/holdstill/internal/repository"
)

const (
	blockSize = 4096 // as stat tells it
	// A reader that has read in order so many times is read ahead for, at first a little, then more and more.
	streakWanted = 3
	aheadFirst   = 1 << 20
	aheadMost    = 8 << 20
	// The kernel sends the reads of one reader in parallel, so they come a little out of order.
	disorder = 2 * maxRead
)

// handle is one open file of one reader.
type handle struct {
	*node

	mu     sync.Mutex
	next   int64 // behind the furthest byte that was read in order
	ahead  int64 // up to where it was read ahead
	streak int
	window int64
}

type handles struct {
	mu   sync.Mutex
	last uint64
	all  map[uint64]*handle
}

func (h *handles) add(n *node) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.all[h.last] = &handle{node: n}
	return h.last
}

func (h *handles) get(id uint64) *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all[id]
}

func (h *handles) remove(id uint64) *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := h.all[id]
	delete(h.all, id)
	return found
}

func (n *node) isLink() bool { return n.Mode.Type() == fs.ModeSymlink }

// Open opens a file. The store is asked when the first byte is: a server opens thousands of files.
func (f *files) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := f.nodes.get(in.NodeId)
	switch {
	case n == nil:
		return fuse.ENOENT
	case !n.Mode.IsRegular():
		return fuse.EINVAL
	}
	n.use()
	out.Fh = f.open.add(n)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	return fuse.OK
}

// Release closes a file for one of its readers.
func (f *files) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if h := f.open.remove(in.Fh); h != nil {
		h.leave()
	}
}

func (n *node) use() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened++
}

// leave closes what the store opened behind the last user.
func (n *node) leave() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.opened--; n.opened == 0 && n.reader != nil {
		_ = n.reader.Close()
		n.reader = nil
	}
}

// Read gives bytes of a file from the blocks that hold them.
func (f *files) Read(cancel <-chan struct{}, in *fuse.ReadIn, _ []byte) (fuse.ReadResult, fuse.Status) {
	h := f.open.get(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	at := int64(in.Offset)
	end := min(at+int64(in.Size), h.Size)
	if at >= end {
		return fuse.ReadResultData(nil), fuse.OK
	}
	blocks := f.blocks(h.node, at, end)
	f.readAhead(h, at, end)
	var parts [][]byte
	for _, b := range blocks {
		if !await(b.done, cancel) {
			return nil, fuse.EINTR
		}
		if b.err != nil {
			return nil, f.failed(h.node, b.err)
		}
		start := b.key.index * blockLength
		parts = append(parts, b.data[max(0, at-start):min(int64(len(b.data)), end-start)])
	}
	return fuse.ReadResultVector(parts), fuse.OK
}

// blocks starts to read what holds the bytes from at to end.
func (f *files) blocks(n *node, at, end int64) []*block {
	var out []*block
	for i := at / blockLength; i*blockLength < end; i++ {
		out = append(out, f.cache.get(blockKey{n.inode, i}, func() ([]byte, error) { return f.load(n, i) }))
	}
	return out
}

// load reads one block from the store.
func (f *files) load(n *node, index int64) ([]byte, error) {
	if err := f.ctx.Err(); err != nil {
		return nil, err
	}
	n.use() // what is read ahead may outlast the one who opened the file
	defer n.leave()
	reader, err := f.reader(n)
	if err != nil {
		return nil, err
	}
	start := index * blockLength
	data := make([]byte, min(blockLength, n.Size-start))
	got, err := reader.ReadAt(data, start)
	if got == len(data) {
		return data, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: it ends at %d and not at %d", repository.ErrDamaged, start+int64(got), n.Size)
	}
	return nil, err
}

// reader is what the store opened, for all who have the file open.
func (f *files) reader(n *node) (repository.Reader, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.reader != nil {
		return n.reader, nil
	}
	r, err := f.tree.Open(f.ctx, n.Node)
	if err != nil {
		return nil, err
	}
	n.reader = r
	return r, nil
}

// readAhead starts to read what a reader in order will want next.
func (f *files) readAhead(h *handle, at, end int64) {
	if from, to := h.advise(at, end); from < to {
		f.blocks(h.node, from, to)
	}
}

// advise tells what to read ahead after a read.
func (h *handle) advise(at, end int64) (from, to int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at > h.next+disorder || at < h.next-disorder {
		h.next, h.ahead, h.streak, h.window = end, end, 1, 0
		return 0, 0
	}
	h.next = max(h.next, end)
	if h.streak++; h.streak < streakWanted {
		return 0, 0
	}
	h.window = min(max(2*h.window, aheadFirst), aheadMost)
	from, to = max(h.ahead, h.next), min(h.next+h.window, h.Size)
	if to-from < h.window/4 && to < h.Size { // in larger steps
		return 0, 0
	}
	h.ahead = max(to, h.ahead)
	return from, to
}
