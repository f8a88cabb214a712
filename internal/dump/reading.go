package dump

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/database"
)

// reading is the tool at work on all tables, in its one transaction.
type reading struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	text   io.Reader
	said   *brief        // its complaints
	quiet  chan struct{} // closed when it will say no more
}

// beginReading starts the tool and waits until its transaction has begun. With --verbose both products' tools tell each step on the
// standard error, at once: "-- Starting transaction..." before the statement is sent, and the next line after it was answered
// (main and start_transaction in client/mysqldump.cc and mysqldump.c). wait bounds the wait, ctx the whole.
func (j *job) beginReading(ctx, wait context.Context) (*reading, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &reading{cmd: j.command(ctx, j.rowsOfAll()), cancel: cancel, said: &brief{}, quiet: make(chan struct{})}
	text, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	steps, err := r.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("cannot start %s: %w", j.tool.Path, err)
	}
	r.text = text
	begun := make(chan struct{})
	go r.listen(steps, begun)
	select {
	case <-begun:
		return r, nil
	case <-wait.Done():
		r.stop()
		return nil, errors.Join(database.ErrBusy, fmt.Errorf("the dump tool did not begin its transaction while commits were held: %w", context.Cause(wait)))
	case <-r.quiet:
		_, err := io.Copy(io.Discard, text)
		return nil, j.judged(err, r.cmd.Wait(), false, r.said)
	}
}

// listen tells the tool's steps from its complaints.
func (r *reading) listen(steps io.Reader, begun chan struct{}) {
	defer close(r.quiet)
	in := bufio.NewReader(steps)
	starting := false
	for {
		line, err := in.ReadString('\n')
		switch step := strings.HasPrefix(line, "-- "); {
		case !step:
			_, _ = io.WriteString(r.said, line)
		case strings.HasPrefix(line, "-- Starting transaction"):
			starting = true
		case starting && begun != nil:
			close(begun)
			begun = nil
		}
		if err != nil {
			return
		}
	}
}

// yield lets the server's own work go first, now that nobody waits for the tool.
func (r *reading) yield() {
	if r != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, r.cmd.Process.Pid, 10) // if it cannot be, it is only less polite
	}
}

// stop ends a tool whose text nobody wants.
func (r *reading) stop() {
	if r != nil {
		r.cancel()
		<-r.quiet
		_ = r.cmd.Wait()
	}
}
