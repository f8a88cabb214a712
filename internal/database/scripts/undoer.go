package scripts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdstill/holdstill/internal/service"
	"github.com/holdstill/holdstill/internal/undo"
)

// Kind is the kind of our deeds in the undo registry.
const Kind = "scripts"

// args is the deed. It names configurations rather than their parameters, which may hold passwords.
type args struct {
	Boot    string     `json:"boot"`
	Record  string     `json:"record"`
	Plugins []promised `json:"plugins"`
}

// promised is a post that has to be run.
type promised struct {
	Name   string        `json:"name"`
	Config string        `json:"config"`
	Post   string        `json:"post"`
	Most   time.Duration `json:"most"` // the host's limit
}

// Undoer runs the posts that a dead run owes. After a reboot nobody knows which pres were started, and what they did may be on a disk:
// all posts are run.
func Undoer(ctx context.Context, d undo.Deed) error {
	var a args
	if err := json.Unmarshal(d.Args, &a); err != nil {
		return fmt.Errorf("cannot read the deed: %w", err)
	}
	r, err := readRecord(a.Record)
	if err != nil {
		return err
	}
	if a.Boot == undo.BootID() {
		if r == nil {
			return nil
		}
		if len(r.Plugins) != len(a.Plugins) {
			return errors.New("what was started is not what was promised")
		}
	} else if r == nil || r.Boot != undo.BootID() {
		if r, err = assume(a); err != nil {
			return err
		}
	}
	all := make([]error, len(a.Plugins))
	var group sync.WaitGroup
	for i, p := range a.Plugins {
		group.Go(func() { all[i] = p.runPost(ctx, r.Plugins[i]) })
	}
	group.Wait()
	if err := errors.Join(all...); err != nil {
		return err
	}
	return r.remove()
}

// assume makes the record of a boot before this one: whatever was promised may have begun.
func assume(a args) (*record, error) {
	r, err := newRecord(a.Record, len(a.Plugins))
	if err != nil {
		return nil, err
	}
	for _, e := range r.Plugins {
		if err := e.began(pre, service.Process{}); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (d promised) runPost(ctx context.Context, e *entry) error {
	if e.Pre == nil || e.Done {
		return nil
	}
	p, f := readPlugin(d.Config, d.Name, d.Most)
	if f != nil {
		return fmt.Errorf("cannot run the post script %s: %w", d.Post, f)
	}
	p.post.path = d.Post // what was promised, whatever the configuration says by now
	if err := quiet(ctx, e, p.timeout); err != nil {
		return fmt.Errorf("cannot run the post script %s: %w", d.Post, err)
	}
	t := p.try(ctx, p.post, e)
	for _, o := range t.outputs {
		o.close()
	}
	if t.err != nil {
		return t.err
	}
	return e.done()
}

// quiet ends what a killed run left running: a pre that has not ended, with all that it started, and a post, which gets its time. A pre
// that had ended may have left the holder of the application's lock: that is for the post to end.
func quiet(ctx context.Context, e *entry, timeout time.Duration) error {
	now := service.ProcessOf(e.Pre.PID)
	if e.Pre.Lives() || e.Killed && (now.PID == 0 || now == *e.Pre) { // else the number is somebody else's by now
		if err := e.killing(pre); err != nil {
			return err
		}
		if err := killGroup(e.Pre.PID); err != nil {
			return err
		}
	}
	if e.Post == nil || !e.Post.Lives() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for e.Post.Lives() {
		if !pause(ctx, 10*time.Millisecond) {
			return killGroup(e.Post.PID)
		}
	}
	return nil
}
