// Package take makes a restore point: hold, freeze, cut, thaw, resume, record. It is the only code that stills production.
package take

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/freeze"
	"github.com/holdstill/holdstill/internal/plan"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// Deps is what a backup works with.
type Deps struct {
	Server    database.Server
	Providers map[string]snapshot.Provider
	Catalog   *catalog.Store
	Run       *undo.Run
	Log       *slog.Logger
	Endpoint  database.Endpoint // how a later process reaches the server
	Address   string            // HOST:PORT where others reach it, if known
	RunDir    string            // where the guard keeps its evidence

	// Where several runs go through their windows together, Ready waits for the others right before it, Failed lets them go as soon
	// as this one cannot go through, and Frozen tells the freeze that they share. Nil where a run goes alone.
	Ready  func(context.Context) error
	Failed func()
	Frozen func() freeze.Times
}

// taking is one backup on its way.
type taking struct {
	Deps
	plan  *plan.Plan
	facts *database.Facts

	refs     []snapshot.Ref
	position database.Position
	sources  []database.Channel
	stages   []catalog.Stage
	warnings []string

	window   catalog.Window
	heldFor  database.Window
	takenAt  time.Time
	holdLost error
	told     database.Report // by the hold, beside its times
	owed     *undo.Stuck     // a hold that outlives its point
}

// Backup carries out a plan that has no problems and returns the point as it is recorded. After an error nothing is left
// behind but what errors.As finds as undo.Stuck; the caller ends the run. A point with an error is recorded, and its hold is not released.
func Backup(ctx context.Context, p *plan.Plan, facts *database.Facts, deps Deps) (*catalog.Point, error) {
	t := &taking{Deps: deps, plan: p, facts: facts}
	point, err := t.backup(ctx)
	if err != nil {
		return nil, errors.Join(err, t.Run.Unwind(ctx))
	}
	if t.owed != nil {
		return point, t.owed
	}
	return point, nil
}

func (t *taking) backup(ctx context.Context) (*catalog.Point, error) {
	t.Log.Info("Starting PRE actions for role "+string(t.facts.Role), "mode", t.plan.Mode)
	resume, err := t.quiesce(ctx)
	if err != nil {
		return nil, err
	}
	cut, err := t.still(ctx)
	if err != nil {
		return nil, err
	}
	defer cut.Close()
	t.Log.Info("Starting POST actions for role " + string(t.facts.Role))
	if err := resume(ctx); err != nil {
		return nil, err
	}
	if err := t.stage("settle", func() error { return cut.Settle(ctx) }); err != nil {
		return nil, fmt.Errorf("cannot make the cut durable: %w", err)
	}
	if err := fault.At("cut.finished"); err != nil {
		return nil, err
	}
	return t.record()
}

// record writes the point. From here on its cuts belong to the catalogue.
func (t *taking) record() (*catalog.Point, error) {
	point := t.point()
	if err := t.Catalog.Record(point); err != nil {
		if !t.Catalog.Has(point.ID) {
			return nil, err
		}
		// Written, but not known to be durable: take it back, so that the world and the catalogue agree.
		return nil, errors.Join(err, t.Catalog.Forget(point.ID))
	}
	if err := t.Run.KeepCommitted(); err != nil {
		t.Log.Warn("the point is recorded, but its ledger could not be closed; recover will: " + err.Error())
	}
	t.Log.Info("Recorded point "+point.ID, "consistency", point.Consistency)
	return point, nil
}

// stage runs one part and notes when it began and how long it took.
func (t *taking) stage(name string, part func() error) error {
	begun := time.Now()
	err := part()
	t.note(name, begun, time.Now())
	return err
}

func (t *taking) note(name string, begun, ended time.Time) {
	t.stages = append(t.stages, catalog.Stage{Name: name, StartedAt: begun.UTC(), MS: ms(ended.Sub(begun))})
}

// ms is a duration in milliseconds, to a tenth.
func ms(d time.Duration) float64 { return float64(d.Round(100*time.Microsecond).Microseconds()) / 1000 }
