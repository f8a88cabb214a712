package dumpfile

import (
	"io"
	"sync/atomic"
)

// Progress tells how far a file is read, in its own bytes.
type Progress struct {
	Total int64
	done  atomic.Int64
}

// Done are the bytes read so far.
func (p *Progress) Done() int64 { return p.done.Load() }

type counter struct {
	in io.Reader
	p  *Progress
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.p.done.Add(int64(n))
	return n, err
}
