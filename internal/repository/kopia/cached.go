package kopia

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
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

// cached is a storage whose packs of data are read block by block.
type cached struct {
	blob.Storage

	mu      sync.Mutex
	blocks  map[blockID]*block
	order   list.List // newest first
	lengths map[blob.ID]int64
}

// GetBlob serves a part of a pack from the blocks that hold it; everything else goes through.
func (c *cached) GetBlob(ctx context.Context, id blob.ID, offset, length int64, output blob.OutputBuffer) error {
	if !strings.HasPrefix(string(id), "p") || length <= 0 || length > blockLength {
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
	want := min(blockLength, size-at)
	out := &buffer{}
	out.Grow(int(want))
	if err := c.Storage.GetBlob(ctx, id.blob, at, want, out); err != nil {
		return nil, err
	}
	if int64(out.Len()) != want {
		return nil, blob.ErrInvalidRange
	}
	return out.Bytes(), nil
}

// buffer is what a storage reads into.
type buffer struct{ bytes.Buffer }

func (b *buffer) Length() int { return b.Len() }
