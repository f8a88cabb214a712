package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startedBy is a variable in the environment of every server that we start. It holds the run, and so names the process
// for an undo better than a pid could, which is only known when the server runs already, and is used again.
const startedBy = "HOLDSTILL_STARTED_BY"

// Process is a server that we started.
type Process struct {
	PID  int
	done chan struct{} // closed when it is gone
	err  error         // how it ended
	log  string
	from int64 // where the error log stood when it started
}

// Environment is what a server gets: nothing of ours but what finds libraries and tells the time zone.
func Environment(more ...string) []string {
	out := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}, more...)
	for _, name := range []string{"LD_LIBRARY_PATH", "LD_PRELOAD", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// launch starts the server in a session of its own, with its output in the error log.
func (j *Job) launch(args []string) (*Process, error) {
	if err := dropDeadLock(j.Plan.Socket + ".lock"); err != nil {
		return nil, err
	}
	src := j.Plan.world.Source
	log, err := os.OpenFile(j.Plan.ErrorLog, os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o640)
	if err != nil {
		return nil, fmt.Errorf("cannot open the error log: %w", err)
	}
	defer func() { _ = log.Close() }()
	if err := log.Chown(src.UID, src.GID); err != nil && os.Geteuid() == 0 {
		return nil, fmt.Errorf("cannot give the error log to the server: %w", err)
	}
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(j.Plan.Server.Path, append([]string{"--defaults-file=" + j.Plan.OptionFilePath()}, args...)...)
	cmd.Env = Environment(startedBy + "=" + j.Run.ID)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a terminal's ^C must not reach it
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", j.Plan.Server.Path, err)
	}
	p := &Process{PID: cmd.Process.Pid, done: make(chan struct{}), log: j.Plan.ErrorLog, from: info.Size()}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// dropDeadLock removes the lock of a socket whose server is dead: MySQL does not start while the process answers signals, and that a dead one does until
// it is reaped, which in a container may be never.
func dropDeadLock(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ignoreGone(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return fmt.Errorf("cannot read whose socket it is: %w", err)
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || Lives(pid) {
		return nil // the server says what it thinks of it
	}
	return ignoreGone(os.Remove(path))
}

// said is what the server wrote to its error log since it started.
func (p *Process) said() string {
	f, err := os.Open(p.log)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	from := p.from
	if info, err := f.Stat(); err == nil && info.Size()-from > 64<<10 {
		from = info.Size() - 64<<10
	}
	if _, err := f.Seek(from, 0); err != nil {
		return ""
	}
	var b bytes.Buffer
	_, _ = b.ReadFrom(f)
	return b.String()
}

// tail are the last lines of what it said, for an error.
func (p *Process) tail() string {
	lines := strings.Split(strings.TrimSpace(p.said()), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n  ")
}

func (p *Process) failed(err error) error {
	return fmt.Errorf("%w; the error log %s ends with:\n  %s", err, p.log, p.tail())
}

// stop shuts the server down cleanly.
func (p *Process) stop(ctx context.Context) error {
	if err := syscall.Kill(p.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("cannot stop the server: %w", err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return p.failed(fmt.Errorf("the server (process %d) does not shut down: %w", p.PID, ctx.Err()))
	}
	if p.err != nil {
		return p.failed(fmt.Errorf("the server did not shut down cleanly: %w", p.err))
	}
	return nil
}

type serverArgs struct {
	Datadir    string `json:"datadir"`
	OptionFile string `json:"option_file"`
	Run        string `json:"run"`
}

// killServer ends the servers that the run started. They serve a copy that is about to go, so nothing is gained by asking them nicely.
func killServer(ctx context.Context, a serverArgs) error {
	return end(ctx, syscall.SIGKILL, func(pid int) bool { return startedFor(pid, a) })
}

func startedFor(pid int, a serverArgs) bool {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err == nil {
		return slices.ContainsFunc(bytes.Split(environ, []byte{0}), func(v []byte) bool { return string(v) == startedBy+"="+a.Run })
	}
	cmdline, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(bytes.Split(cmdline, []byte{0}), func(v []byte) bool { return string(v) == "--defaults-file="+a.OptionFile })
}

// endAgain shuts down the server that the run started on a copy which stays, and waits as long as it is allowed to.
func endAgain(ctx context.Context, a serverArgs) error {
	return end(ctx, syscall.SIGTERM, func(pid int) bool { return startedFor(pid, a) })
}

// stopServer shuts down the server whose data directory this is, however it was started: by its service.
func stopServer(ctx context.Context, a serverArgs) error {
	return end(ctx, syscall.SIGTERM, func(pid int) bool { return worksIn(pid, a.Datadir) })
}

func worksIn(pid int, datadir string) bool {
	cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	return err == nil && filepath.Clean(cwd) == filepath.Clean(datadir)
}

// serversOn lists the servers that work in a data directory.
func serversOn(datadir string) []int {
	return slices.DeleteFunc(servers(), func(pid int) bool { return !worksIn(pid, datadir) || !Lives(pid) })
}

// Lives reports whether a process exists and is no zombie: where PID 1 is lazy, the dead answer signals for seconds.
func Lives(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// the name in brackets may hold anything, so the state is what follows the last bracket
	_, rest, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
	return ok && len(rest) > 0 && !bytes.ContainsRune([]byte("ZXx"), rune(rest[0]))
}

func end(ctx context.Context, signal syscall.Signal, ours func(int) bool) error {
	for {
		left := slices.DeleteFunc(servers(), func(pid int) bool { return !ours(pid) || !Lives(pid) })
		if len(left) == 0 {
			return nil
		}
		for _, pid := range left {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("cannot end the server (process %d): %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server (process %d) does not end: %w", left[0], ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
