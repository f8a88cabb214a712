package scripts

import (
	"context"
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/service"
)

// betweenTries gives an application a moment; it is part of the time that the script has.
const betweenTries = 500 * time.Millisecond

// tried is a script that was run, perhaps more than once.
type tried struct {
	run     database.ScriptRun
	outputs []*output
	begun   bool
	err     error // a *Failure, or that of the context, or of a group that cannot be killed
	stuck   int   // the process group that could not be killed; 0: none
	told    bool
}

// noter writes down, before it begins, which process runs a script, and before a group is killed that it is.
type noter interface {
	began(phase string, p service.Process) error
	killing(phase string) error
}

// try runs one of a plugin's scripts until it succeeds, its tries are used up, or its time is: all tries share it.
func (p *plugin) try(ctx context.Context, s script, note noter) *tried {
	t := &tried{run: database.ScriptRun{Plugin: p.name, Phase: s.phase, Script: s.path, Exit: -1}}
	begun := time.Now()
	limit, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	for {
		t.err = p.once(limit, s, note, t)
		again := t.err != nil && t.run.Code == s.code(codeFailed) && t.run.Tries <= s.retries
		if !again || !pause(limit, betweenTries) {
			break
		}
	}
	t.run.MS = float64(time.Since(begun).Round(100*time.Microsecond).Microseconds()) / 1000
	if ctx.Err() != nil && t.err != nil {
		t.err = fmt.Errorf("the %s script %s was interrupted: %w", s.phase, s.path, ctx.Err())
	}
	if t.err != nil {
		t.run.Said = t.err.Error()
	}
	return t
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// once is one try.
func (p *plugin) once(ctx context.Context, s script, note noter, t *tried) error {
	fails := func(f *Failure) error {
		t.run.Code = f.Code
		return f
	}
	t.run.Code, t.run.Exit = 0, -1
	if f := s.check(); f != nil {
		return fails(f)
	}
	if err := ctx.Err(); err != nil {
		return fails(p.late(s))
	}
	argv, err := s.command()
	if err != nil {
		return fails(failure(s.code(codeFailed), "", "%v", err))
	}
	t.run.Tries++
	running, err := start(argv, func(who service.Process) error { return note.began(s.phase, who) })
	if err != nil {
		return fails(failure(s.code(codeFailed), "", "cannot start the %s script %s: %v", s.phase, s.path, err))
	}
	t.begun = true
	t.outputs = append(t.outputs, running.said)
	select {
	case <-running.ended:
		return p.over(running, s, t)
	case <-ctx.Done():
	}
	t.run.Code = p.late(s).Code
	if err := p.end(running, s, note, t); err != nil {
		return err
	}
	return p.late(s)
}

// over takes the code of a script that ended by itself. What it left running goes on: it may be what holds the application.
func (p *plugin) over(running *process, s script, t *tried) error {
	exit, err := running.reap()
	t.run.Exit = exit
	if exit == 0 {
		t.run.Code = 0
		return nil
	}
	t.run.Code = s.code(codeFailed)
	return failure(t.run.Code, "see what the script says, in the log", "the %s script %s failed: %v%s", s.phase, s.path, err, saying(running.said.last()))
}

func saying(last string) string {
	if last == "" {
		return ""
	}
	return ": " + last
}

// end kills a script whose time is over, with all that it started.
func (p *plugin) end(running *process, s script, note noter, t *tried) error {
	noted := note.killing(s.phase)
	if err := running.kill(); err != nil {
		t.stuck = running.PID
		return fmt.Errorf("the %s script %s did not end in time (code %d), and %w", s.phase, s.path, t.run.Code, err)
	}
	_, _ = running.reap()
	return noted
}

func (p *plugin) late(s script) *Failure {
	code, whose := s.code(codeTimeout), "timeoutInSeconds of the plugin"
	if p.hostEnds {
		code, whose = s.code(codeHostTimeout), "timeoutInSeconds of the host"
	}
	return failure(code, "raise "+whose+", or make the script faster", "the %s script %s did not end within %s, and was killed", s.phase, s.path, p.timeout)
}
