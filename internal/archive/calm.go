package archive

import (
	"context"
	"net"
	"sync"
	"time"
)

// calm is a connection of a stream that brings many small packets: it waits a moment for more of them instead of waking up for each, and
// leaves out deadlines that differ little, which the library sets for each. That is half of an archiver's CPU time.
type calm struct {
	net.Conn
	read time.Time // when the last read ended that did not fill its buffer; zero: it did

	mu       sync.Mutex // the library sets deadlines from two goroutines
	deadline time.Time
}

const (
	moment = 5 * time.Millisecond
	little = 5 * time.Second // less than a deadline is away
)

// calmly is dial for streams.
func calmly(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &calm{Conn: conn}, nil
}

func (c *calm) Read(b []byte) (int, error) {
	if wait := moment - time.Since(c.read); wait > 0 {
		time.Sleep(wait)
	}
	n, err := c.Conn.Read(b)
	if c.read = time.Now(); n == len(b) {
		c.read = time.Time{}
	}
	return n, err
}

// SetReadDeadline keeps one that is a little earlier than what is wanted. One that is to end a read at once is always set.
func (c *calm) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if later := t.Sub(c.deadline); !c.deadline.IsZero() && later >= 0 && later < little {
		return nil
	}
	c.deadline = t
	return c.Conn.SetReadDeadline(t)
}
