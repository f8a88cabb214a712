package take

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/freeze"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/undo"
)

// coldFreeze bounds a freeze under a stopped server, where nobody waits for it but the clock.
const coldFreeze = 30 * time.Second

// still tries the window until it succeeds or the patience is over: a server that is busy now may be quiet in a second.
func (t *taking) still(ctx context.Context) (*cuts, error) {
	deadline := time.Now().Add(t.plan.Policy.Patience)
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		if err := t.waitForQuiet(ctx, deadline); err != nil {
			return nil, err
		}
		before := t.Run.OpenDeeds()
		cut, err := t.attempt(ctx)
		if !errors.Is(err, database.ErrBusy) || t.Run.OpenDeeds() > before { // what could not be released is no reason to try again
			return cut, err
		}
		if time.Now().Add(pause).After(deadline) {
			return nil, fmt.Errorf("gave up after %s, nothing is held: %w", t.plan.Policy.Patience, err)
		}
		t.Log.Info(fmt.Sprintf("Busy, trying again in %s", pause), "reason", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// waitForQuiet waits until no statement is in the way.
func (t *taking) waitForQuiet(ctx context.Context, deadline time.Time) error {
	if t.plan.Mode == database.Cold {
		return nil
	}
	told := false
	for {
		blockers, err := database.InTheWay(ctx, t.Server, t.plan.Policy.MaxStall)
		if err != nil || len(blockers) == 0 {
			return err
		}
		worst := blockers[0]
		if !told {
			t.Log.Info(fmt.Sprintf("Waiting for %d statements, the longest for %s so far", len(blockers), worst.Running.Round(time.Millisecond)), "statement", worst.Text)
			told = true
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("gave up after %s, nothing is held: %w", t.plan.Policy.Patience, worst.Busy())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// attempt prepares everything, goes through the window once, and leaves it.
func (t *taking) attempt(ctx context.Context) (_ *cuts, err error) {
	w := &window{taking: t}
	if w.cut, err = t.prepare(ctx); err != nil {
		return nil, err
	}
	defer func() {
		w.close()
		if err != nil {
			w.cut.Close()
		}
	}()
	if err := w.open(ctx); err != nil {
		return nil, err
	}
	if err := w.promise(); err != nil {
		return nil, errors.Join(err, w.leave(ctx))
	}
	if err := w.approach(ctx); err != nil {
		return nil, errors.Join(err, w.leave(ctx))
	}
	if t.Ready != nil {
		if err := t.Ready(ctx); err != nil {
			return nil, errors.Join(err, w.leave(ctx))
		}
	}
	t.Run.Seal()
	if err = w.through(ctx); err != nil && t.Failed != nil {
		t.Failed() // first: a server that hangs is not left in a moment, and the others are held meanwhile
	}
	err = errors.Join(err, w.leave(ctx))
	w.measure()
	if err != nil {
		return nil, err
	}
	w.tell()
	return w.cut, nil
}

// window is one passage: everything in it was opened and promised before.
type window struct {
	*taking
	cut   *cuts
	hold  database.Hold // nil in mode cold
	guard *freeze.Guard // nil where nothing is frozen

	holding  *undo.Promised[database.Position]
	freezing *undo.Promised[time.Time]

	cutBegun, cutEnded time.Time
	cutDone            bool
}

// open makes the connections, the guard: all that takes time.
func (w *window) open(ctx context.Context) (err error) {
	deadline := w.plan.Policy.MaxStall
	if w.plan.Mode == database.Cold {
		deadline = max(deadline, coldFreeze)
	} else if w.hold, err = w.Server.NewHold(ctx); err != nil {
		return err
	}
	if len(w.plan.Freeze) > 0 {
		if w.guard, err = freeze.Start(ctx, w.plan.Freeze, deadline, filepath.Join(w.RunDir, w.Run.ID+".freeze")); err == nil {
			if note := w.guard.Note(); note != "" {
				w.Log.Debug("The guard is weaker than it should be: " + note)
			}
		}
	}
	return err
}

func (w *window) close() {
	if w.guard != nil {
		_ = w.guard.Close()
	}
	if w.hold != nil {
		_ = w.hold.Close()
	}
}

func (w *window) promise() (err error) {
	if w.hold != nil {
		if w.holding, err = undo.Promise(w.Run, w.hold.Step(w.plan.Policy.Budget())); err != nil {
			return err
		}
	}
	if w.guard != nil {
		if w.freezing, err = undo.Promise(w.Run, w.guard.Step(w.Run.ID)); err != nil {
			return err
		}
	}
	return w.cut.promise(w.Run)
}

// approach takes what does not stall commits, and writes out what the cut would have to write in the window. Twice:
// the second time there is little left.
func (w *window) approach(ctx context.Context) error {
	sync := func() error {
		for _, u := range w.plan.Units {
			if err := mount.SyncFS(u.Sync); err != nil {
				return fmt.Errorf("cannot sync %s: %w", u.Sync, err)
			}
		}
		return nil
	}
	if err := sync(); err != nil {
		return err
	}
	if w.hold != nil {
		begun := time.Now()
		err := w.hold.Approach(ctx)
		w.note("approach", begun, time.Now())
		if err != nil {
			return err
		}
	}
	return sync()
}

// through is the window. Between the hold and the release nothing is written, started, looked up or opened.
func (w *window) through(ctx context.Context) error {
	if w.holding != nil {
		position, err := w.holding.Act(ctx)
		if err != nil {
			return err
		}
		w.position = position
		switch w.plan.Mode {
		case database.Hot:
			w.sources = w.hold.Channels()
		case database.Locked:
			if err := unmoved(w.sources, w.hold.Channels()); err != nil {
				return err
			}
		}
	}
	if w.freezing != nil {
		if _, err := w.freezing.Act(ctx); err != nil {
			return err
		}
	}
	w.cutBegun = time.Now()
	refs, err := w.cut.act(ctx)
	w.cutEnded = time.Now()
	w.refs, w.cutDone = refs, err == nil
	return err
}

// unmoved wants every applier where it was stopped: a server that was restarted meanwhile has started it again.
func unmoved(stopped, now []database.Channel) error {
	for _, was := range stopped {
		at := slices.IndexFunc(now, func(c database.Channel) bool { return c.Name == was.Name })
		if at < 0 || now[at].Applier || now[at].File != was.File || now[at].Offset != was.Offset {
			return fmt.Errorf("the applier of %s:%d did not stay where it was stopped, at %s:%d: somebody started it, or the server", was.Host, was.Port, was.File, was.Offset)
		}
	}
	return nil
}

// leave thaws and releases, after success and after failure: the same undo. A hold that was lost before its release does
// not void a finished cut: the point is worth less, and says so.
func (w *window) leave(ctx context.Context) error {
	var all []error
	if w.freezing != nil {
		all = append(all, w.Run.Undo(ctx, w.freezing.Receipt))
	}
	if w.holding != nil {
		err := w.Run.Undo(ctx, w.holding.Receipt)
		if errors.Is(err, database.ErrHoldLost) && w.cutDone {
			w.holdLost, err = err, nil
		} else if errors.Is(err, database.ErrStillHeld) && w.cutDone {
			w.stillHeld(err)
			err = nil
		}
		all = append(all, err)
	}
	if !w.cutDone {
		all = append(all, w.cut.undo(ctx, w.Run))
	}
	return errors.Join(append(all, w.Run.Unseal())...)
}

// tell says what the window was, now that it is over.
func (w *window) tell() {
	text := fmt.Sprintf("Cut %d volumes in %.1f ms", len(w.plan.Units), w.window.SnapshotMS)
	if w.guard != nil {
		text += fmt.Sprintf(", frozen for %.1f ms", w.window.FreezeMS)
	}
	if w.hold != nil {
		text += fmt.Sprintf(", commits held for %.1f ms", ms(w.heldFor.Released.Sub(w.heldFor.Asked)))
	}
	w.Log.Info(text, "position", fmt.Sprintf("%s:%d", w.position.File, w.position.Offset), "gtid", w.position.GTID)
}

func (w *window) measure() {
	if w.hold != nil {
		w.heldFor = w.hold.Window()
		w.note("hold", w.heldFor.Asked, w.heldFor.Released)
		w.report()
	}
	w.takenAt = w.cutBegun
	if w.guard != nil {
		times := w.guard.Times()
		w.window.FreezeMS = ms(times.Thawed.Sub(times.Asked))
		w.note("freeze", times.Asked, times.Thawed)
	}
	if w.Frozen != nil {
		times := w.Frozen()
		w.window.FreezeMS = ms(times.Thawed.Sub(times.Asked))
	}
	w.window.SnapshotMS = ms(w.cutEnded.Sub(w.cutBegun))
	w.note("cut", w.cutBegun, w.cutEnded)
}
