package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/undo"
)

// continuing takes one copy further.
type continuing struct {
	app       *app
	flags     *copyFlags
	until     *untilFlags
	state     *pitr.State
	configDir string
	deps      restore.Deps
}

// request is that of the copy.
func (c *continuing) request() restore.Request {
	r := c.state.Request(c.configDir)
	r.Timeout = c.flags.request.Timeout
	return r
}

// settle finds out where a copy stands whose last replay was cut off.
func (c *continuing) settle(ctx context.Context, run *undo.Run) error {
	r := c.request()
	var err error
	if r.Onward, err = c.state.Settled(ctx, c.configDir); err != nil {
		return err
	}
	c.app.log.Info("a replay of this copy was cut off: looking what it has", "stage", "settle")
	plan, err := restore.Again(ctx, r)
	if err != nil {
		return refused(err)
	}
	_, err = restore.DoAgain(ctx, run, plan, c.deps)
	return err
}

// on looks for the way from where the copy stands, and replays it.
func (c *continuing) on(ctx context.Context, run *undo.Run) error {
	r := c.request()
	r.Start = c.flags.request.Start
	plan, err := restore.Again(ctx, r)
	if err != nil {
		return refused(err)
	}
	if err := c.state.Untouched(); err != nil {
		return gone(err)
	}
	way, err := c.way(ctx)
	if err != nil {
		return err
	}
	moment := &pitr.Moment{}
	plan.Request.Onward = pitr.Further(c.state, way, c.deps, moment)
	result, err := restore.DoAgain(ctx, run, plan, c.deps)
	if err != nil {
		return halted(errors.Join(err, run.Unwind(ctx)), r.Datadir, c.configDir, c.until)
	}
	return c.app.printMoment("Took further the copy of point", result, moment)
}

func (c *continuing) way(ctx context.Context) (*pitr.Way, error) {
	target, err := c.until.target()
	if err != nil {
		return nil, err
	}
	logs, err := c.app.logsFor(ctx, c.until.logs, c.state.Point)
	if err != nil {
		return nil, err
	}
	c.app.log.Info(fmt.Sprintf("looking for the way from %s to %s in %s", c.state.Stands, target, logs.From), "stage", "way")
	way, err := pitr.FindFrom(ctx, c.state.Stands, logs, target)
	return way, unreachable(err)
}
