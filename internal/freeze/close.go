package freeze

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Close ends the guard and removes the evidence file. What is still frozen is thawed first; if that cannot be had the
// evidence stays for the Undoer. Closing twice is no error.
func (g *Guard) Close() error {
	if g == nil {
		return nil
	}
	return g.release()
}

func (g *Guard) release() error {
	err := g.endGuard()
	for _, p := range g.points {
		p.dir.Close() // read only: its error tells nothing
	}
	g.points = nil
	if g.evidence != nil && err == nil {
		err = errors.Join(unix.Munmap(g.evidence))
	}
	g.evidence = nil
	if g.made && err == nil {
		g.made = false
		if removed := os.Remove(g.evidencePath); !errors.Is(removed, os.ErrNotExist) {
			err = removed
		}
	}
	return err
}

// endGuard breaks the pipe and waits for the guard's end. One that does not end is killed if nothing is frozen (somebody
// stopped it); else it stays: it is the only one that still can thaw a FIFREEZE that is in the kernel.
func (g *Guard) endGuard() error {
	if !g.started {
		return closeSocket(g.socket)
	}
	g.started = false
	if raw, err := g.socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) })
	}
	if !g.ended(closeLimit) && !g.holds() {
		_ = g.process.Process.Kill()
	}
	if !g.ended(closeLimit) {
		return fmt.Errorf("the guard (process %d) is still busy with %s", g.PID(), g.points[0].Path)
	}
	_ = g.process.Wait() // its exit code says nothing that it did not say
	err := closeSocket(g.socket)
	if g.holds() {
		_, thawErr := g.thawHere(frozen, freezing)
		err = errors.Join(err, thawErr)
	}
	return err
}

func (g *Guard) ended(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-g.gone:
		return true
	case <-timer.C:
		return false
	}
}

func closeSocket(f *os.File) error {
	if f == nil {
		return nil
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
