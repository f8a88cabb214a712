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
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

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

// plain paths need no quoting in option files, mountinfo, shell scripts and DSNs.
var plain = regexp.MustCompile(`^/[A-Za-z0-9._+@/-]+$`)

// New makes a lab in dir, which must be absent or empty, and starts its reaper. Close removes dir too, so a directory that others use
// as well, such as /var/tmp, is refused even while it is empty.
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
	if err := checkPath(dir); err != nil { // before we make it
		return dir, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return dir, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return dir, err
	}
	if err := checkPath(dir); err != nil {
		return dir, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return dir, err
	}
	if info.Mode()&os.ModeSticky != 0 || info.Mode().Perm()&0o022 != 0 {
		return dir, fmt.Errorf("others may write in it (%s), and a lab removes its directory at the end: name one below it", info.Mode())
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

func checkPath(dir string) error {
	if !plain.MatchString(dir) || strings.Count(dir, "/") < 2 {
		return errors.New("the path must be at least two levels deep and of letters, digits and . _ + @ - only")
	}
	return nil
}

// Dir is where everything lies.
func (l *Lab) Dir() string { return l.dir }

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
