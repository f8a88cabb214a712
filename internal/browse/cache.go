package browse

import (
	"container/list"
	"runtime"
	"sync"
)

const (
	// blockLength is the unit in which files are read and kept, in bytes: a multiple of the store's chunks up to points of 512 GiB.
	blockLength = 128 << 10
	cacheLimit  = 64 << 20
)

// loadsAtOnce is how many blocks are read at once: some wait for the store while others are unpacked.
var loadsAtOnce = max(16, 4*runtime.GOMAXPROCS(0))

type blockKey struct {
	inode uint64
	index int64
}

// block is a piece of a file that is being read, or was.
type block struct {
	key   blockKey
	done  chan struct{}
	data  []byte
	err   error
	place *list.Element
}

// cache keeps the blocks that were used last, up to a number of bytes, and reads each of them once however many want it.
type cache struct {
	limit int
	slots chan struct{} // one for each load

	mu    sync.Mutex
	size  int
	all   map[blockKey]*block
	order list.List // newest first; only what was read
}

func newCache(limit int) *cache {
	return &cache{limit: limit, slots: make(chan struct{}, loadsAtOnce), all: map[blockKey]*block{}}
}

// get gives a block, which is ready when its done is closed.
func (c *cache) get(key blockKey, load func() ([]byte, error)) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.all[key]; b != nil {
		if b.place != nil {
			c.order.MoveToFront(b.place)
		}
		return b
	}
	b := &block{key: key, done: make(chan struct{})}
	c.all[key] = b
	go c.fill(b, load)
	return b
}

func (c *cache) fill(b *block, load func() ([]byte, error)) {
	c.slots <- struct{}{}
	b.data, b.err = load()
	<-c.slots
	close(b.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.err != nil { // the next one tries again
		delete(c.all, b.key)
		return
	}
	b.place = c.order.PushFront(b)
	c.size += len(b.data)
	for c.size > c.limit && c.order.Len() > 1 {
		c.drop(c.order.Back().Value.(*block))
	}
}

func (c *cache) drop(b *block) {
	c.order.Remove(b.place)
	delete(c.all, b.key)
	c.size -= len(b.data)
}
