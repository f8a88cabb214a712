package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// listener stands between a peer and the server's socket, and takes the time of two statements. So the windows of programs that do
// not tell theirs are known to the microsecond, and the server is not made to log, which would slow its commits.
type listener struct {
	path, server string
	lock, unlock []byte
	socket       net.Listener

	mu            sync.Mutex
	asked, freed  time.Time // the first lock was sent; the last unlock after it was answered
	waitingUnlock bool
	wait          sync.WaitGroup
}

func listen(ctx context.Context, path, server, lock, unlock string) (*listener, error) {
	_ = os.Remove(path)
	socket, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	p := &listener{path: path, server: server, lock: []byte(lock), unlock: []byte(unlock), socket: socket}
	p.wait.Go(func() {
		for {
			client, err := socket.Accept()
			if err != nil {
				return
			}
			p.wait.Go(func() { p.serve(ctx, client) })
		}
	})
	return p, nil
}

func (p *listener) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(ctx, "unix", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pass(client, server, p.answer)
		_ = client.Close()
	}()
	pass(server, client, p.statement)
	_ = server.Close()
	<-done
}

// pass copies, and shows each piece before it goes on. A statement is one piece: clients wait for each answer.
func pass(to io.Writer, from io.Reader, show func([]byte)) {
	piece := make([]byte, 64<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			show(piece[:n])
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *listener) statement(text []byte) {
	if len(text) > 1000 {
		return
	}
	upper := bytes.ToUpper(text)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case bytes.Contains(upper, p.lock) && p.asked.IsZero():
		p.asked = time.Now()
	case bytes.Contains(upper, p.unlock) && !p.asked.IsZero() && p.freed.IsZero():
		p.waitingUnlock = true
	}
}

func (p *listener) answer([]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waitingUnlock {
		p.freed, p.waitingUnlock = time.Now(), false
	}
}

// window is zero if the peer never asked for its lock.
func (p *listener) window() (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked.IsZero() {
		return 0, nil
	}
	if p.freed.IsZero() {
		return 0, fmt.Errorf("it said %q and never %q", p.lock, p.unlock)
	}
	return p.freed.Sub(p.asked), nil
}

func (p *listener) close() {
	_ = p.socket.Close()
	p.wait.Wait()
}
