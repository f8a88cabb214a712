package browse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// startedWith is the descriptor over which a serving process speaks with the command that started it.
const startedWith = 3

// Word is what a serving process tells its starter: a question for a person, or how it went.
type Word struct {
	Ask   string `json:"ask,omitempty"`
	Ready bool   `json:"ready,omitempty"`
	PID   int    `json:"pid,omitempty"`
	// If it failed:
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	Code  int    `json:"code,omitempty"`
}

// Spawn starts our own binary again, in a session of its own and without the terminal, and returns what it says once the mount answers, or
// does not. When ctx ends, or this process dies before, it gives up. Questions are answered by ask, as the process has nobody.
func Spawn(ctx context.Context, arguments []string, ask func(context.Context, string) (string, error)) (Word, error) {
	if err := unix.CloseRange(startedWith, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return Word{}, fmt.Errorf("cannot keep open files from the process that serves: %w", err)
	}
	conn, theirs, err := pair()
	if err != nil {
		return Word{}, err
	}
	defer conn.Close()
	server := &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{"holdstill"}, arguments...), Dir: "/",
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, ExtraFiles: []*os.File{theirs},
	}
	err = server.Start()
	_ = theirs.Close()
	if err != nil {
		return Word{}, fmt.Errorf("cannot start the process that serves: %w", err)
	}
	_ = server.Process.Release()
	defer context.AfterFunc(ctx, func() { _ = conn.CloseWrite() })()
	words, answers := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var w Word
		if err := words.Decode(&w); err != nil {
			return w, errors.Join(fmt.Errorf("the process that was to serve died: %w", err), ctx.Err())
		}
		if w.Ask == "" {
			return w, nil
		}
		answer, err := ask(ctx, w.Ask)
		if err == nil {
			err = answers.Encode(answer)
		}
		if err != nil {
			return w, err
		}
	}
}

func pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "command")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn.(*net.UnixConn), theirs, nil
}

// Caller is the command that started this process.
type Caller struct {
	conn    *net.UnixConn
	answers chan string
	gone    chan struct{}
}

// Called returns the caller.
func Called() (*Caller, error) {
	f := os.NewFile(startedWith, "command")
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("this is started by holdstill mount, never by hand: %w", err)
	}
	_ = f.Close()
	c := &Caller{conn: conn.(*net.UnixConn), answers: make(chan string), gone: make(chan struct{})}
	go c.listen()
	return c, nil
}

func (c *Caller) listen() {
	defer close(c.gone)
	for decoder := json.NewDecoder(c.conn); ; {
		var answer string
		if decoder.Decode(&answer) != nil {
			return
		}
		c.answers <- answer
	}
}

// Gone is closed when the caller has died or was interrupted, and after the last word.
func (c *Caller) Gone() <-chan struct{} { return c.gone }

// Ask has the caller ask a person.
func (c *Caller) Ask(ctx context.Context, prompt string) (string, error) {
	if err := json.NewEncoder(c.conn).Encode(Word{Ask: prompt}); err != nil {
		return "", err
	}
	select {
	case answer := <-c.answers:
		return answer, nil
	case <-c.gone:
		return "", errors.New("nobody answered")
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Say is the last word. An error means that nobody has heard it.
func (c *Caller) Say(w Word) error {
	w.PID = os.Getpid()
	err := json.NewEncoder(c.conn).Encode(w)
	return errors.Join(err, c.conn.Close())
}
