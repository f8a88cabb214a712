package lab

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

//go:embed reaper.sh
var reaperScript []byte

// The reaper's exit statuses that are not failures of its own.
const (
	reaperLeft  = 1
	reaperKept  = 3
	reaperInUse = 75
)

// ErrInUse says that a lab's maker still lives.
var ErrInUse = errors.New("the lab is in use")

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
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	l.reaper, l.pipe = cmd, pipe
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err := io.ReadFull(ready, make([]byte, len("ready\n"))); err != nil {
		return fmt.Errorf("it ended before it was ready: %w", errors.Join(err, cmd.Wait()))
	}
	return nil
}

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

// startTime is field 22 of /proc/PID/stat; together with the pid it names a process for ever.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", err
	}
	// the second field is a name in brackets that may hold spaces and brackets
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "", fmt.Errorf("cannot read the start time in %q", stat)
	}
	return fields[19], nil
}
