// Package demo plays Holdstill's whole story for real, on three local MariaDB servers: two restore points of live servers, a new
// replica made from one of them, and a table that is dropped and comes back. It drives the holdstill program as a person on each node would, shows what it types and
// what comes back, and fails as soon as anything fails. Everything is made through internal/lab, so it is gone whatever happens.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// DefaultDir is where a demo lives.
const DefaultDir = "/var/tmp/holdstill-demo"

// Options of a demo.
type Options struct {
	Dir    string    // default DefaultDir
	Keep   bool      // leave the nodes running at the end
	Out    io.Writer // default stdout
	Binary string    // the holdstill to drive; default this program
}

func (o Options) filled() (Options, error) {
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, err
	}
	o.Dir = dir
	if o.Binary == "" {
		if o.Binary, err = os.Executable(); err != nil {
			return o, fmt.Errorf("cannot find the holdstill program: %w", err)
		}
	}
	o.Binary, err = filepath.Abs(o.Binary)
	return o, err
}

// demo is one run.
type demo struct {
	Options
	*story

	lab    *lab.Lab
	nodes  map[string]*node
	writer *writer
	abort  context.CancelCauseFunc // ends the run with a reason: the writer's error
	done   []act
}

// Run plays the demo and cleans up after it.
func Run(ctx context.Context, o Options) error {
	o, err := o.filled()
	if err != nil {
		return err
	}
	defer syscall.Umask(syscall.Umask(0o022)) // servers run as user mysql, and must reach what is theirs
	d := &demo{Options: o, story: newStory(o.Out), nodes: map[string]*node{}}
	if err := d.makeRoom(); err != nil {
		return err
	}
	if d.lab, err = lab.New(o.Dir); err != nil {
		return fmt.Errorf("cannot start the demo: %w", err)
	}
	d.Dir = d.lab.Dir()
	defer d.lab.Close() //nolint:errcheck // for panics only: finish has closed it and told

	ctx, d.abort = context.WithCancelCause(ctx)
	defer d.abort(nil)
	began := time.Now()
	err = d.play(ctx)
	return d.finish(ctx, err, time.Since(began))
}

// play is the story.
func (d *demo) play(ctx context.Context) error {
	defer d.stopWriter()
	d.line(d.heading.Sprint("Holdstill demo: three servers, two restore points, one new replica, one mistake"))
	for _, scene := range []func(context.Context) error{
		d.threeNodes,
		d.setUpReplication,
		d.startWriting,
		d.configure,
		d.coldPoint,
		d.hotPoint,
		d.deployReplica,
		d.compare,
		d.mistake,
		d.summarise,
	} {
		if err := scene(ctx); err != nil {
			return because(ctx, err)
		}
	}
	return nil
}

// aborted is the reason for which the demo itself ended its context; a signal has a reason of its own.
type aborted struct{ error }

// because prefers the reason that the run was ended for to what the end did to a scene.
func because(ctx context.Context, err error) error {
	if reason, ok := errors.AsType[aborted](context.Cause(ctx)); ok {
		return reason.error
	}
	if ctx.Err() != nil {
		return ctx.Err() // that it was interrupted, the caller says
	}
	return err
}

// finish leaves everything running or nothing behind. A demo that failed is kept too, if that was asked for: to look at.
func (d *demo) finish(ctx context.Context, failure error, took time.Duration) error {
	d.line("")
	if d.Keep && ctx.Err() == nil {
		err := d.lab.Keep()
		d.lookAround()
		return errors.Join(failure, err)
	}
	began := time.Now()
	err := d.lab.Close()
	if err == nil {
		d.line(fmt.Sprintf("Cleaned up in %s: no server, mount, loop device, namespace or file is left.", seconds(time.Since(began))))
	}
	if failure == nil && err == nil {
		d.line(d.good.Sprint("Done") + fmt.Sprintf(" in %s.", seconds(took)))
	}
	return errors.Join(failure, err)
}
