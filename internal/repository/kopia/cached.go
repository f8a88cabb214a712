package kopia

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/kopia/kopia/repo/blob"
)

// Contents are small and lie beside each other in blobs of 20 MB; a store far away answers each request after many milliseconds. So
// data are read in blocks, which are kept in memory for a while.
const (
	cachedType  = "holdstill-cached"
	blockLength = 2 << 20
	blocksKept  = 48 // 96 MiB
)

// memory is how far the heap of a process that works with a store may grow, in bytes, before Go collects more often than it would: beside a
// database the memory is better used by that. GOMEMLIMIT in the environment has the last word.
const memory = 320 << 20

// cachedOptions are what kopia reads from the connection's file.
type cachedOptions struct {
	Place string `json:"place"` // see places
}

// places are the locations of this process by the names of their connections' files. So what a store wants to see, as its keys, is
// in no file but those that people keep it in.
var places sync.Map

var registerPlaces = sync.OnceFunc(func() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
	blob.AddSupportedStorage(cachedType, cachedOptions{}, func(ctx context.Context, o *cachedOptions, create bool) (blob.Storage, error) {
		at, known := places.Load(o.Place)
		if !known {
			return nil, fmt.Errorf("nobody named the place %s", o.Place)
		}
		inner, err := at.(Location).storage(ctx, create)
		if err != nil {
			return nil, err
		}
		return &cached{Storage: inner, blocks: map[blockID]*block{}, lengths: map[blob.ID]int64{}}, nil
	})
})

// connection is the location behind our cache of what is read, under a name.
func (l Location) connection(name string) *blob.ConnectionInfo {
	registerPlaces()
	places.Store(name, l)
	return &blob.ConnectionInfo{Type: cachedType, Config: &cachedOptions{Place: name}}
}

type blockID struct {
	blob  blob.ID
	index int64
}

type block struct {
	id    blockID
	place *list.Element
	once  sync.Once
	data  []byte
	err   error
}

// cached is a storage whose packs are read block by block.
type cached struct {
	blob.Storage

	mu      sync.Mutex
	blocks  map[blockID]*block
	order   list.List // newest first
	lengths map[blob.ID]int64
}

// GetBlob serves a small part of a pack from the blocks that hold it; everything else goes through.
func (c *cached) GetBlob(ctx context.Context, id blob.ID, offset, length int64, output blob.OutputBuffer) error {
	if !isPack(id) || length <= 0 || length > blockLength {
		return c.Storage.GetBlob(ctx, id, offset, length, output)
	}
	output.Reset()
	size, err := c.length(ctx, id)
	if err != nil {
		return err
	}
	if offset < 0 || offset+length > size {
		return blob.ErrInvalidRange
	}
	for at := offset; at < offset+length; {
		b := c.block(blockID{id, at / blockLength})
		b.once.Do(func() { b.data, b.err = c.read(ctx, b.id, size) })
		if b.err != nil {
			c.forget(b)
			return b.err
		}
		from := at % blockLength
		to := min(int64(len(b.data)), from+offset+length-at)
		if _, err := output.Write(b.data[from:to]); err != nil {
			return err
		}
		at += to - from
	}
	return nil
}

// isPack tells the blobs that hold contents, of files (p) or indexes and directories (q). They never change.
func isPack(id blob.ID) bool {
	return strings.HasPrefix(string(id), "p") || strings.HasPrefix(string(id), "q")
}

func (c *cached) length(ctx context.Context, id blob.ID) (int64, error) {
	c.mu.Lock()
	size, known := c.lengths[id]
	c.mu.Unlock()
	if known {
		return size, nil
	}
	m, err := c.Storage.GetMetadata(ctx, id)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.lengths[id] = m.Length
	c.mu.Unlock()
	return m.Length, nil
}

func (c *cached) block(id blockID) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.blocks[id]; b != nil {
		c.order.MoveToFront(b.place)
		return b
	}
	b := &block{id: id}
	b.place = c.order.PushFront(b)
	c.blocks[id] = b
	if c.order.Len() > blocksKept {
		c.drop(c.order.Back().Value.(*block))
	}
	return b
}

func (c *cached) drop(b *block) {
	c.order.Remove(b.place)
	delete(c.blocks, b.id)
}

// forget makes the next reader of a block that could not be read try again.
func (c *cached) forget(b *block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks[b.id] == b {
		c.drop(b)
	}
}

func (c *cached) read(ctx context.Context, id blockID, size int64) ([]byte, error) {
	at := id.index * blockLength
	out := &slot{data: make([]byte, min(blockLength, size-at))}
	if err := c.Storage.GetBlob(ctx, id.blob, at, int64(len(out.data)), out); err != nil {
		return nil, err
	}
	if out.length != len(out.data) {
		return nil, blob.ErrInvalidRange
	}
	return out.data, nil
}

// slot is memory that a storage fills. A buffer that can grow does so before it knows that there is no more, to twice its length.
type slot struct {
	data   []byte
	length int
}

func (s *slot) Reset()      { s.length = 0 }
func (s *slot) Length() int { return s.length }

func (s *slot) Write(p []byte) (int, error) {
	n := copy(s.data[s.length:], p)
	s.length += n
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// ReadFrom spares the way through a buffer.
func (s *slot) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.ReadFull(r, s.data[s.length:])
	s.length += n
	if err == nil { // a connection is used again if its answer was read to the end
		if _, err = io.ReadFull(r, make([]byte, 1)); err == nil {
			return int64(n), io.ErrShortWrite
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return int64(n), err
}

// buffer is what a storage reads into.
type buffer struct{ bytes.Buffer }

func (b *buffer) Length() int { return b.Len() }
