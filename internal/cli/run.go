package cli

import (
	"context"
	"strings"

	"github.com/holdstill/holdstill/internal/undo"
	"github.com/holdstill/holdstill/internal/wire"
)

// runPrefix begins the names of runs that belong to no instance, and copyPrefix those of runs on one copy.
const runPrefix, copyPrefix = "run-", "run-copy-"

// isAlone tells the owner of a run that belongs to no instance and to no copy.
func isAlone(owner string) bool {
	return strings.HasPrefix(owner, runPrefix) && !strings.HasPrefix(owner, copyPrefix)
}

// begin opens a run. One that touches an instance takes the instance's lock; any other has a lock of its own, so that a later
// recover can tell whether it lives.
func (a *app) begin(ctx context.Context, instance string) (*undo.Run, func(), error) {
	if instance != "" {
		return a.beginAs(ctx, instance)
	}
	return a.beginAs(ctx, runPrefix+newID())
}

// beginAs opens a run that owner stands for.
func (a *app) beginAs(ctx context.Context, owner string) (*undo.Run, func(), error) {
	id := newID()
	a.recoverAlone(ctx)
	if isAlone(owner) {
		id = strings.TrimPrefix(owner, runPrefix)
	}
	release, err := a.lockOwner(owner)
	if err != nil {
		return nil, nil, err
	}
	if _, err := a.takeBack(ctx, owner); err != nil {
		release()
		return nil, nil, err
	}
	run, err := undo.Begin(a.dirs.Runs(), id, owner, wire.Registry(), a.log)
	if err != nil {
		release()
		return nil, nil, err
	}
	return run, func() {
		if err := run.End(); err != nil {
			a.log.Warn("the ledger could not be closed; recover will: "+err.Error(), "run", run.ID)
		}
		release()
	}, nil
}
