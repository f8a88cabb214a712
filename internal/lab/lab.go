// Package lab makes the servers, volumes and networks that the demo, the tests and the benchmarks need, and that are gone whatever
// happens to their maker.
//
// Everything made through a Lab lies below one directory. A reaper, a small shell script in a session of its own, holds one end of a
// pipe; when the pipe ends (Close, exit, panic, kill -9) it thaws, kills, unmounts, detaches and removes what it finds there. There
// is no second way of cleaning up, so every ordinary Close tests the one that matters.
//
// A lab needs root, and the packages of scripts/prereqs.sh. Its servers let local root (and any local user on MySQL) in as root: they
// listen on loopback or in namespaces of their own, and hold nothing worth stealing.
package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed reaper.sh
var reaperScript []byte

// Lab owns everything made through it.
type Lab struct {
	// Seeds is a directory, outside of the lab, that keeps one initialised datadir per build for the next server, since initialising
	// takes seconds and a copy does not. Empty (the default) leaves no such trace on the machine.
	Seeds string

	dir    string
	list   *os.File       // what the reaper cannot find by path
	pipe   io.WriteCloser // its end wakes the reaper
	reaper *exec.Cmd

	mu      sync.Mutex
	names   map[string]bool // taken by volumes and servers: each has dir/name
	servers []*Server
	lastID  int

	end    sync.Once
	endErr error
}

// The reaper's exit statuses that are not failures of its own.
const (
	reaperLeft  = 1
	reaperKept  = 3
	reaperInUse = 75
)

// ErrInUse says that a lab's maker still lives.
var ErrInUse = errors.New("the lab is in use")

// plain paths need no quoting in option files, mountinfo, shell scripts and DSNs.
var plain = regexp.MustCompile(`^/[A-Za-z0-9._+@/-]+$`)

// New makes a lab in dir, which must be absent or empty, and starts its reaper.
func New(dir string) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a lab needs root, for mounts and namespaces")
	}
	dir, err := prepare(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot make a lab in %s: %w", dir, err)
	}
	l := &Lab{dir: dir, names: map[string]bool{}, lastID: 100}
	if l.list, err = os.OpenFile(filepath.Join(dir, "reaper.list"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return nil, fmt.Errorf("cannot make a lab: %w", err)
	}
	if err := l.startReaper(); err != nil {
		return nil, fmt.Errorf("cannot start the lab's reaper: %w", err)
	}
	return l, nil
}

// prepare makes the directory and gives its real path, the one that the kernel will show for mounts.
func prepare(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return dir, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return dir, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return dir, err
	}
	if !plain.MatchString(dir) || strings.Count(dir, "/") < 2 {
		return dir, errors.New("the path must be at least two levels deep and of letters, digits and . _ + @ - only")
	}
	found, err := os.ReadDir(dir)
	if err != nil {
		return dir, err
	}
	if len(found) > 0 {
		return dir, fmt.Errorf("the directory is not empty: it holds %s", found[0].Name())
	}
	return dir, os.Chmod(dir, 0o755) // servers run as user mysql and must reach what is below
}

func (l *Lab) startReaper() error {
	script := filepath.Join(l.dir, "reaper.sh")
	if err := os.WriteFile(script, reaperScript, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("/bin/bash", script, l.dir)
	// a session of its own: signals to the maker's terminal or process group must not reach it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	l.reaper, l.pipe = cmd, pipe
	return cmd.Start()
}

// Dir is where everything lies.
func (l *Lab) Dir() string { return l.dir }

// Close takes everything back and waits until it is gone. What could not be taken back is in the error.
func (l *Lab) Close() error { return l.finish(func() error { return nil }) }

// Keep ends the lab but leaves everything running and mounted; Reap cleans it later.
func (l *Lab) Keep() error {
	return l.finish(func() error {
		_, err := io.WriteString(l.pipe, "keep\n")
		return err
	})
}

func (l *Lab) finish(tell func() error) error {
	l.end.Do(func() {
		l.closeConnections()
		err := errors.Join(tell(), l.pipe.Close(), l.list.Close())
		waitErr := l.reaper.Wait()
		l.endErr = errors.Join(err, verdict(l.dir, waitErr))
	})
	return l.endErr
}

// Reap cleans a lab that was kept, or whose reaper was killed together with its maker. A dir that is absent is clean.
func Reap(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	// our script, not the one in dir: that one may be of an older version, or not ours at all
	cmd := exec.Command("/bin/bash", "-c", string(reaperScript), "reaper", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err = cmd.Run()
	if text := strings.TrimSpace(stderr.String()); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return verdict(dir, err)
}

func verdict(dir string, err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	switch exit.ExitCode() {
	case reaperKept:
		return nil
	case reaperInUse:
		return fmt.Errorf("cannot reap %s: %w", dir, ErrInUse)
	case reaperLeft:
		left, readErr := os.ReadFile(filepath.Join(dir, "reaper.left"))
		if readErr == nil {
			return fmt.Errorf("cannot clean %s, left: %s", dir, strings.ReplaceAll(strings.TrimSpace(string(left)), "\n", "; "))
		}
	}
	return fmt.Errorf("the reaper of %s failed: %w", dir, err)
}

// promise tells the reaper of a thing that it could not find by looking for dir, before the thing is made.
func (l *Lab) promise(kind string, words ...string) error {
	_, err := l.list.WriteString(kind + " " + strings.Join(words, " ") + "\n")
	if err != nil {
		return fmt.Errorf("cannot tell the reaper: %w", err)
	}
	return nil
}

// Adopt makes the reaper kill a process that was started beside the lab. The start time guards against a pid that is used again.
func (l *Lab) Adopt(pid int) error {
	start, err := startTime(pid)
	if err != nil {
		return fmt.Errorf("cannot adopt process %d: %w", pid, err)
	}
	return l.promise("process", strconv.Itoa(pid), start)
}

// take reserves dir/name, once.
func (l *Lab) take(name string) (string, error) {
	if !plain.MatchString("/"+name) || strings.Contains(name, "/") || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("%q cannot be a name in a lab", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	path := filepath.Join(l.dir, name)
	if _, err := os.Lstat(path); l.names[name] || err == nil {
		return "", fmt.Errorf("the lab has a %q already", name)
	}
	l.names[name] = true
	return path, nil
}

// prefix keeps the names of two labs apart in the one world of network namespaces.
func (l *Lab) prefix() string {
	h := fnv.New32a()
	_, _ = io.WriteString(h, l.dir)
	return fmt.Sprintf("hs%08x-", h.Sum32())
}

// run runs a command to its end; what it printed is in the error.
func run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 2 * time.Second // a grandchild with our pipe must not hold us
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, lastLines(text, 12))
	}
	return text, nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
