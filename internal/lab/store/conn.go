package store

import (
	"net"
	"sync"
	"time"
)

// flow is one direction of everything that goes through a proxy.
type flow struct {
	since int64     // bytes since the faults were set, or since the last cut
	free  time.Time // when the next bytes may pass, at the rate that is set
}

// direction of bytes, as the client sees it.
type direction int

const (
	upward direction = iota + 1
	downward
)

// guarded is the proxy's listener: each connection that it gives away is subject to the faults.
type guarded struct{ p *Proxy }

func (g guarded) Accept() (net.Conn, error) {
	c, err := g.p.listener.Accept()
	if err != nil {
		return nil, err
	}
	guard := &conn{Conn: c, p: g.p, gone: make(chan struct{})}
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	g.p.stats.Connections++
	g.p.open[guard] = true
	return guard, nil
}

func (g guarded) Close() error   { return g.p.listener.Close() }
func (g guarded) Addr() net.Addr { return g.p.listener.Addr() }

// conn is a client's connection to the proxy: what is read goes up, what is written comes down.
type conn struct {
	net.Conn
	p    *Proxy
	gone chan struct{}
	once sync.Once

	doomed bool // it has read what it may: the next time it is cut (its one reader's)

	mu   sync.Mutex
	last direction
}

// piece is as much as passes at once: small enough that a limit of the rate makes no bursts.
const piece = 16 << 10

func (c *conn) Read(b []byte) (int, error) {
	if c.doomed {
		c.cut()
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(b[:min(len(b), piece)])
	if n == 0 {
		return n, err
	}
	pass, cut, held := c.hold(upward, n)
	if held != nil {
		return 0, held
	}
	if c.doomed = cut; pass == 0 && cut {
		return c.Read(b)
	}
	return pass, err
}

func (c *conn) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		pass, cut, held := c.hold(downward, min(len(b), piece))
		if held != nil {
			return written, held
		}
		n, err := c.Conn.Write(b[:pass])
		written += n
		if err == nil && cut {
			_ = c.Close() // no reset: that would take away what is on its way to the client
			err = net.ErrClosed
		}
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}

// hold lets n bytes wait for what the faults want them to wait for. It says how many of them pass, and whether the connection is cut
// after these.
func (c *conn) hold(d direction, n int) (pass int, cut bool, err error) {
	turns := c.turn(d)
	for {
		f, changed := c.p.now()
		if !f.Hang {
			if turns && !c.sleep(f.Latency) {
				return 0, false, net.ErrClosed
			}
			break
		}
		if !c.wait(nil, changed) {
			return 0, false, net.ErrClosed
		}
	}
	pass, delay, cut := c.p.pass(d, n)
	if !c.sleep(delay) {
		return 0, false, net.ErrClosed
	}
	return pass, cut, nil
}

// turn says whether the direction is another than that of the bytes before: a request begins, or its answer. Latency is once for both.
func (c *conn) turn(d direction) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.last
	c.last = d
	return was != d && d == upward
}

// sleep is false when the connection has gone meanwhile.
func (c *conn) sleep(t time.Duration) bool {
	if t <= 0 {
		return true
	}
	timer := time.NewTimer(t)
	defer timer.Stop()
	return c.wait(timer.C, nil)
}

// wait is over at the time or the event, and false when the connection has gone meanwhile.
func (c *conn) wait(over <-chan time.Time, event <-chan struct{}) bool {
	select {
	case <-over:
	case <-event:
	case <-c.gone:
		return false
	case <-c.p.done:
		return false
	}
	return true
}

// cut breaks the connection as a network does: the client gets a reset.
func (c *conn) cut() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.gone)
		c.p.mu.Lock()
		delete(c.p.open, c)
		c.p.mu.Unlock()
	})
	return c.Conn.Close()
}
