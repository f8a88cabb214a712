// Package service stops and starts the service that runs a server: a systemd unit, a SysV script, or a pair of commands.
package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Service is one way to stop and start a server. It holds no secret and goes into the ledger as it is.
type Service struct {
	Kind  string `json:"kind"` // systemd, sysv, commands
	Name  string `json:"name,omitempty"`
	Start string `json:"start,omitempty"` // shell commands of the kind "commands"
	Stop  string `json:"stop,omitempty"`
	// Timeout bounds the stop, and again the start until the server answers.
	Timeout time.Duration `json:"timeout"`
	// Mark is a file that the stop command holds a lock on as long as it runs: it outlives us if we are killed.
	Mark string `json:"mark,omitempty"`
}

// The kinds.
const (
	Systemd  = "systemd"
	SysV     = "sysv"
	Commands = "commands"
)

// Title names the service for people.
func (s Service) Title() string {
	switch s.Kind {
	case Systemd:
		return "the systemd unit " + s.Name
	case SysV:
		return "the service " + s.Name
	}
	return "the service (" + s.Stop + ")"
}

// StartCommand is what a person would type.
func (s Service) StartCommand() string { return s.command("start", s.Start) }

// StopCommand is what a person would type.
func (s Service) StopCommand() string { return s.command("stop", s.Stop) }

func (s Service) command(verb, own string) string {
	switch s.Kind {
	case Systemd:
		return "systemctl " + verb + " " + s.Name
	case SysV:
		return "service " + s.Name + " " + verb
	}
	return own
}

// Down stops the service and waits until the server's process is gone. Cancelling does not cut the stop short: a server that
// is half down has to be all down before anybody can start it again.
func (s Service) Down(ctx context.Context, server Process) error {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Timeout)
	defer cancel()
	if err := s.run(limit, "stop", s.StopCommand()); err != nil {
		return err
	}
	for server.Lives() {
		if !pause(limit) {
			return fmt.Errorf("%s was told to stop, but its server (process %d) still runs after %s", s.Title(), server.PID, s.Timeout)
		}
	}
	return ctx.Err()
}

// Up starts the service and waits until its server answers. The server may be the one that was there before, on its way
// down because a run was killed while it stopped it: that one is waited for.
func (s Service) Up(ctx context.Context, before Process, answers func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	for {
		if !before.Lives() {
			break
		}
		if !s.stopping() && steady(ctx, answers) {
			return nil // it was never told to stop
		}
		if !pause(ctx) {
			return fmt.Errorf("%s is neither up nor down: its server (process %d) does not answer and does not end", s.Title(), before.PID)
		}
	}
	if answers(ctx) == nil {
		return nil
	}
	if err := s.run(ctx, "start", s.StartCommand()); err != nil {
		return err
	}
	for {
		err := answers(ctx)
		if err == nil {
			return nil
		}
		if !pause(ctx) {
			return fmt.Errorf("%s was started, but its server does not answer after %s: %w", s.Title(), s.Timeout, err)
		}
	}
}

// steadyFor is how long a server has to answer to count as up although somebody may have told it to stop: a stop command
// needs a moment to reach it, after that it takes no connections.
const steadyFor = 2 * time.Second

func steady(ctx context.Context, answers func(context.Context) error) bool {
	for until := time.Now().Add(steadyFor); time.Now().Before(until); {
		if answers(ctx) != nil || !pause(ctx) {
			return false
		}
	}
	return true
}

// pause waits a moment; false when the time is over.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(25 * time.Millisecond):
		return true
	}
}

// run runs a command with its output in a file: a daemon that it leaves behind inherits the output, and a pipe would
// never end. The environment is a plain one, so that nothing of ours leaks into a server. At the end of ctx the command is left
// alone: a start that is killed half way leaves worse than one that is late.
func (s Service) run(ctx context.Context, verb, command string) error {
	out, err := os.CreateTemp("", "holdstill-service-*.log")
	if err != nil {
		return fmt.Errorf("cannot %s the service: %w", verb, err)
	}
	defer func() { _ = errors.Join(out.Close(), os.Remove(out.Name())) }()
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root"}
	cmd.SysProcAttr = ownSession()
	unmark, err := s.mark(cmd, verb)
	if err != nil {
		return fmt.Errorf("cannot %s the service: %w", verb, err)
	}
	err = cmd.Start()
	unmark()
	if err != nil {
		return fmt.Errorf("cannot %s the service with `%s`: %w", verb, command, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err = <-done:
	case <-ctx.Done():
		return fmt.Errorf("cannot %s the service: `%s` has not ended: %w", verb, command, ctx.Err())
	}
	if err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("cannot %s the service: `%s`: %w: %s", verb, command, err, lastLines(string(said)))
	}
	return nil
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}

// Hints is what Find decides by.
type Hints struct {
	Cgroup    string   // of the server's process, as in /proc/PID/cgroup
	Arguments []string // of the server's process
}

// Find tells which service runs the server. The error says why none is known.
func Find(h Hints, timeout time.Duration) (Service, error) {
	if unit := unitOf(h.Cgroup); unit != "" && booted() {
		return Service{Kind: Systemd, Name: unit, Timeout: timeout}, nil
	}
	if booted() {
		return Service{}, errors.New("the server's process belongs to no systemd service: set service in the configuration")
	}
	if ownOptions(h.Arguments) {
		return Service{}, errors.New("the server was started with an option file of its own, so no init script stands for it: set service in the configuration")
	}
	for _, name := range []string{"mariadb", "mysql", "mysqld"} {
		if info, err := os.Stat(filepath.Join("/etc/init.d", name)); err == nil && info.Mode().IsRegular() {
			return Service{Kind: SysV, Name: name, Timeout: timeout}, nil
		}
	}
	return Service{}, errors.New("neither a systemd unit nor an init script runs this server: set service in the configuration")
}

// booted reports whether systemd is the init, as sd_booted(3) does.
func booted() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

func unitOf(cgroup string) string {
	for _, part := range strings.Split(cgroup, "/") {
		if part = strings.TrimSpace(part); strings.HasSuffix(part, ".service") && !strings.HasPrefix(part, "user@") {
			return part
		}
	}
	return ""
}

func ownOptions(arguments []string) bool {
	for _, a := range arguments {
		if strings.HasPrefix(a, "--defaults-file") {
			return true
		}
	}
	return false
}
