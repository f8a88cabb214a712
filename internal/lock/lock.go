// Package lock keeps two runs from the same instance, across processes. The kernel drops the lock with its holder, however
// that dies, so that a lock that can be had proves that the run before is dead.
package lock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrBusy means that another process holds the instance.
var ErrBusy = errors.New("busy")

// Lock is held until Close or the end of the process.
type Lock struct{ file *os.File }

// Take locks the instance, or says which process has it. It never waits.
func Take(dir, instance string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot lock the instance %s: %w", instance, err)
	}
	name := filepath.Join(dir, instance+".lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the instance %s: %w", instance, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(name)
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another run (process %s) holds the instance %s: %w", strings.TrimSpace(string(holder)), instance, ErrBusy)
		}
		return nil, fmt.Errorf("cannot lock the instance %s: %w", instance, err)
	}
	// The file stays: removing it would let two processes lock two files of one name.
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return &Lock{file: f}, nil
}

// Close gives the instance back.
func (l *Lock) Close() error { return l.file.Close() }

// Path is the lock's file.
func (l *Lock) Path() string { return l.file.Name() }
