package holder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/hook"
)

// startedWith is the descriptor over which a holder speaks with the pre that started it.
const startedWith = 3

// answerLimit is how long a pre may take to hear that everything is held: commits stall meanwhile.
const answerLimit = time.Second

// undoLimit is how long a pre that was interrupted waits until everything is taken back.
const undoLimit = 30 * time.Second

// Spawn starts our own binary again as a holder, with the arguments, and returns what it says once everything is held, or is not.
// When ctx ends, or this process is killed, the holder gives up.
func Spawn(ctx context.Context, arguments []string, r Request) (Result, error) {
	// Whatever the host left open in us without close-on-exec would stay open in the holder, and some hosts wait for its end.
	if err := closeOnExec(); err != nil {
		return Result{}, fmt.Errorf("cannot keep the host's files from the holder: %w", err)
	}
	conn, theirs, err := pair()
	if err != nil {
		return Result{}, err
	}
	defer conn.Close()
	holder := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        append([]string{"holdstill"}, arguments...),
		Dir:         "/",
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		ExtraFiles:  []*os.File{theirs},
	}
	err = holder.Start()
	_ = theirs.Close()
	if err != nil {
		return Result{}, fmt.Errorf("cannot start the process that holds: %w", err)
	}
	_ = holder.Process.Release()
	defer context.AfterFunc(ctx, func() {
		_ = conn.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(undoLimit))
	})()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return Result{}, fmt.Errorf("the process that was to hold ended at once: %w", err)
	}
	var out Result
	if err := json.NewDecoder(conn).Decode(&out); errors.Is(err, os.ErrDeadlineExceeded) {
		return Result{}, fmt.Errorf("interrupted, and after %s not everything is taken back: the process that was to hold goes on with it", undoLimit)
	} else if err != nil {
		return Result{}, fmt.Errorf("the process that was to hold died: %w", err)
	}
	return out, nil
}

// closeOnExec marks everything that is open.
func closeOnExec() error {
	if unix.CloseRange(startedWith, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	return closeEachOnExec()
}

// closeEachOnExec is for kernels before 5.11.
func closeEachOnExec() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= startedWith {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

func pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "holder"), os.NewFile(uintptr(fds[1]), "pre")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn.(*net.UnixConn), theirs, nil
}

// Caller is the pre that started this holder.
type Caller struct{ conn *net.UnixConn }

// Called returns the caller and its request.
func Called() (*Caller, Request, error) {
	var r Request
	conn, err := net.FileConn(os.NewFile(startedWith, "pre"))
	if err != nil {
		return nil, r, fmt.Errorf("a holder is started by a pre, never by hand: %w", err)
	}
	c := &Caller{conn.(*net.UnixConn)}
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return nil, r, fmt.Errorf("a holder is started by a pre, never by hand: %w", err)
	}
	return c, r, nil
}

// Gone is closed when the caller has died or was interrupted. After Answer it means nothing.
func (c *Caller) Gone() <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, c.conn) // the end of the request's line may not have been read yet
		close(gone)
	}()
	return gone
}

// Answer tells the caller, which then ends. An error means that it has died: nobody knows that anything is held.
func (c *Caller) Answer(r Result) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(answerLimit))
	err := json.NewEncoder(c.conn).Encode(r)
	return errors.Join(err, c.conn.Close())
}

// Failure is the result of a call that did not come to anything.
func Failure(err error) Result { return Result{Outcome: hook.Failed, Message: InWords(err)} }

// InWords is an error in one line: hosts keep the first one, if any.
func InWords(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
