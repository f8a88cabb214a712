package scripts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/service"
)

const (
	// grace is what a process group gets between SIGTERM and SIGKILL: a script may have a trap that cleans up.
	grace = 2 * time.Second
	// deathLimit is how long a killed group may take to go; one that is in the kernel cannot be hurried.
	deathLimit = 10 * time.Second
)

// gate starts a script only when its number is written down: if we are killed before, it reads the end of the pipe and ends.
const gate = `IFS= read -r go <&3 || exit 125; exec 3<&-; exec "$@"`

// environment is a plain one, so that nothing of ours leaks into a script.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh"}

// process is a script that runs, the leader of a process group and a session of its own.
type process struct {
	service.Process
	cmd   *exec.Cmd
	said  *output
	ended chan struct{} // the leader has; it is a zombie until reaped, so that its number stays its own
}

// start starts a command line once noted has written down who runs it.
func start(argv []string, noted func(service.Process) error) (*process, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	wait, open, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	defer open.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", gate, "sh"}, argv...)...)
	cmd.Stdout, cmd.Stderr = in, in
	cmd.ExtraFiles = []*os.File{wait}
	cmd.Dir, cmd.Env = "/", environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = wait.Close()
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	p := &process{Process: service.ProcessOf(cmd.Process.Pid), cmd: cmd, said: drain(out), ended: make(chan struct{})}
	go p.watch()
	if err = noted(p.Process); err == nil {
		_, err = open.WriteString("\n")
	}
	if err != nil {
		_ = open.Close()
		_, _ = p.reap()
		p.said.close()
		return nil, err
	}
	return p, nil
}

// watch waits for the leader without reaping it.
func (p *process) watch() {
	defer close(p.ended)
	for {
		err := unix.Waitid(unix.P_PID, p.PID, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// reap ends a leader that is over, and tells its exit code: -1 if a signal ended it.
func (p *process) reap() (int, error) {
	<-p.ended
	err := p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode(), err
}

// kill ends the whole group, whatever it says, and returns when it is gone: until then the script could still do what its post has
// taken back already.
func (p *process) kill() error { return killGroup(p.PID) }

func killGroup(group int) error {
	if group <= 1 { // kill(2) takes these for our own group, and for everybody
		return fmt.Errorf("%d is no process group of a script", group)
	}
	for _, step := range []struct {
		signal syscall.Signal
		limit  time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, deathLimit}} {
		_ = syscall.Kill(-group, step.signal)     // an empty group is no fault
		_ = syscall.Kill(-group, syscall.SIGCONT) // one that is stopped would take no SIGTERM
		ctx, cancel := context.WithTimeout(context.Background(), step.limit)
		err := awaitGroup(ctx, group)
		cancel()
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("its process group %d does not go, although it was killed: it hangs in the kernel", group)
}

func awaitGroup(ctx context.Context, group int) error {
	for service.GroupLives(group) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}
