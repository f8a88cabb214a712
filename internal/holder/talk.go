package holder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
)

// ErrNobody means that no holder of the host lives.
var ErrNobody = errors.New("nobody holds")

// askLimit is how long a caller may take to say what it wants.
const askLimit = 10 * time.Second

func socketName(host string) string { return "hook-" + host + ".sock" }

// short names the socket by a descriptor of its directory: the name of a socket is limited to 107 bytes.
func short(dir, host string) (string, func(), error) {
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName(host)), func() { _ = d.Close() }, nil
}

// Ask sends a request to the living holder of a host and returns its reply; ErrNobody if there is none.
func Ask(ctx context.Context, dir, host string, r Request) (Result, error) {
	var out Result
	path, done, err := short(dir, host)
	if errors.Is(err, os.ErrNotExist) {
		return out, ErrNobody
	}
	if err != nil {
		return out, err
	}
	defer done()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return out, ErrNobody
	}
	if err != nil {
		return out, fmt.Errorf("cannot ask the process that holds: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	err = json.NewEncoder(conn).Encode(r)
	if err == nil {
		err = json.NewDecoder(conn).Decode(&out)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return out, ErrNobody // it ended, or died, while we asked: what it wrote down says which
	}
	if err != nil {
		return out, fmt.Errorf("the process that held everything did not answer: %w", err)
	}
	return out, nil
}

// Desk answers the host's calls after its pre.
type Desk struct {
	terms    hook.Terms
	listener net.Listener
	calls    chan Request
	over     chan struct{}
	result   Result // with over
	talks    sync.WaitGroup
}

// Listen opens the desk. The caller holds the lock of the host, so that a socket that lies there is a dead one's.
func Listen(dir, host string, terms hook.Terms) (*Desk, error) {
	if err := os.Remove(filepath.Join(dir, socketName(host))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	path, done, err := short(dir, host)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for the host's post: %w", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by the name with the descriptor, which is closed by then
	d := &Desk{terms: terms, listener: l, calls: make(chan Request), over: make(chan struct{})}
	d.talks.Go(d.serve)
	return d, nil
}

// Calls are the host's, in their order.
func (d *Desk) Calls() <-chan Request { return d.calls }

func (d *Desk) serve() {
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.talks.Go(func() {
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(askLimit)) // a caller that says nothing must not keep us
			var r Request
			if json.NewDecoder(conn).Decode(&r) == nil {
				answer := d.answer(r)
				_ = conn.SetWriteDeadline(time.Now().Add(askLimit)) // nor one that does not listen
				_ = json.NewEncoder(conn).Encode(answer)
			}
		})
	}
}

// answer waits for the end of the hold, but for a pre where the host must not call it twice.
func (d *Desk) answer(r Request) Result {
	if r.Verb == hook.Pre && !d.terms.Renew {
		return Result{Outcome: hook.Already, Message: "a hold is under way, and its post has not come"}
	}
	if r.Verb == hook.Pre {
		r.Verb = hook.Abort
	}
	select {
	case d.calls <- r:
	case <-d.over:
	}
	<-d.over
	return d.result
}

// Close gives everybody who waits the result, and closes the desk.
func (d *Desk) Close(dir, host string, result Result) {
	d.result = result
	_ = os.Remove(filepath.Join(dir, socketName(host)))
	_ = d.listener.Close()
	close(d.over)
	d.talks.Wait()
}
