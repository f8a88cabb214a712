package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long a store may take to answer (azurite: seconds, on a busy machine), and to end when it is told to.
const (
	answers = 90 * time.Second
	ends    = 15 * time.Second
)

// process is the program behind a store, started and ended any number of times.
type process struct {
	args []string
	env  []string
	addr string // answers there when it is ready
	log  string

	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended; nil before the first start
}

func (p *process) running() bool {
	if p.gone == nil {
		return false
	}
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// start starts the program, unless it runs, and waits until it answers.
func (p *process) start(ctx context.Context) error {
	if p.running() {
		return nil
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	// in a session of its own, since a ^C is for the test; killed by the kernel when we are gone, whatever ended us
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	started, gone := make(chan error), make(chan struct{})
	go func() {
		defer close(gone)
		// The kernel sends that signal when the thread ends that started the child, so this one must live as long as the child does.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // mostly it was ended by a signal of ours
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.cmd, p.gone = cmd, gone
	return p.ready(ctx)
}

// ready waits until it answers. One that never does is killed.
func (p *process) ready(ctx context.Context) error {
	for {
		if c, err := net.DialTimeout("tcp", p.addr, time.Second); err == nil && p.running() {
			return c.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.gone:
			return fmt.Errorf("%s ended instead of answering at %s: %s: %s", p.args[0], p.addr, p.cmd.ProcessState, p.tail())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not answer at %s: %w: %s", p.args[0], p.addr, ctx.Err(), p.tail()), p.kill())
		}
	}
}

// stop lets it end by itself, and kills it if it takes too long: an upload under way may hold it.
func (p *process) stop() error {
	if !p.running() {
		return nil
	}
	sessions := p.descendants()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	// sshd ends without those that it has forked for each connection
	killAll(sessions)
	select {
	case <-p.gone:
		return nil
	case <-time.After(ends):
		return p.kill()
	}
}

// kill ends it and what it forked at once. It is stopped first, so that it forks no more while we look.
func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	sessions := p.descendants()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	killAll(sessions)
	<-p.gone
	return nil
}

func killAll(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
}

// descendants are the processes that it forked, and those that they forked.
func (p *process) descendants() []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		// the second field is a name in brackets that may hold spaces and brackets
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	found := children[p.cmd.Process.Pid]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// tail is the last of what it said.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}
