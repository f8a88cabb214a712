package holder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/freeze"
	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/undo"
)

// Party is one instance.
type Party struct {
	Name string
	// Take makes a restore point whose cut passes the seat. An error before anything was changed is marked with ErrNotReady.
	Take func(context.Context, *Seat) (*catalog.Point, error)
}

// Conductor holds all parties, or none.
type Conductor struct {
	Parties []Party
	Terms   hook.Terms
	Waited  time.Duration                     // that the host has waited for its pre already
	Details map[string]string                 // that the host gave with its pre
	Calls   <-chan Request                    // post and abort; the host's calls after its pre
	Held    func(Result) error                // tells the host's pre that everything is held; it must not block
	Run     func() (*undo.Run, func(), error) // opens the ledger of the freeze, and how it is closed
	RunDir  string
}

// ended is how one party ended.
type ended struct {
	party *Party
	point *catalog.Point
	err   error
}

// conducting is one hold on its way.
type conducting struct {
	*Conductor
	gate   *gate
	ended  chan ended
	active int
	all    []ended

	freezing *freezing
	unfrozen error // what is left of the freeze
	stop     error // why everything was given up
	outcome  hook.Outcome
	holds    bool
}

// Conduct returns when everything is released, and what it was worth. When ctx ends everything is taken back.
func (c *Conductor) Conduct(ctx context.Context) Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &conducting{Conductor: c, gate: newGate(len(c.Parties)), ended: make(chan ended, len(c.Parties)), active: len(c.Parties)}
	for i := range c.Parties {
		go func(p *Party) {
			seat := &Seat{gate: t.gate}
			point, err := p.Take(ctx, seat)
			seat.Leave()
			t.ended <- ended{p, point, err}
		}(&c.Parties[i])
	}
	said := t.untilOver(ctx)
	t.release(ctx, said)
	if t.stop != nil {
		cancel()
	}
	t.unfrozen = t.closeFreeze(ctx) // writes: only now, as it must keep nobody held
	for t.active > 0 {
		t.note(<-t.ended)
	}
	return t.result()
}

// untilOver returns when the host is done (with what it said), or when there is a reason to stop.
func (t *conducting) untilOver(ctx context.Context) map[string]string {
	left := t.Terms.Limit - t.Waited
	timer := time.NewTimer(left)
	defer timer.Stop()
	inTime, cancel := context.WithTimeout(ctx, left) // for what we wait for ourselves
	defer cancel()
	for t.stop == nil {
		select {
		case r := <-t.gate.ready:
			if err := t.prepareFreeze(inTime); err != nil {
				t.cannotFreeze(inTime, err)
				break
			}
			t.gate.openRound(r)
		case <-t.gate.held:
			if err := t.freeze(inTime); err != nil {
				t.cannotFreeze(inTime, err)
				break
			}
			if ctx.Err() != nil { // all are letting go
				break
			}
			t.holds = true
			timer.Reset(t.Terms.Hold)
			if err := t.Held(Result{Outcome: hook.Held, Message: t.whom()}); err != nil {
				t.giveUp(hook.Aborted, fmt.Errorf("the host's pre was gone before it could be told: %w", err))
			}
		case e := <-t.ended: // nobody may end before the host is done
			t.note(e)
			t.giveUp(t.outcomeOf(e.err), reason(e))
		case <-timer.C:
			t.atTheEnd()
		case call := <-t.Calls:
			if call.Verb == hook.Post && t.holds {
				return t.said(call.Details)
			}
			t.giveUp(hook.Aborted, gaveUp(call.Verb))
		case <-ctx.Done():
			t.giveUp(t.outcomeOf(ctx.Err()), fmt.Errorf("interrupted: %w", context.Cause(ctx)))
		}
	}
	return nil
}

// whom tells who is held, and for how long.
func (t *conducting) whom() string {
	var names []string
	for _, p := range t.Parties {
		names = append(names, p.Name)
	}
	return fmt.Sprintf("%s, for %s at most", strings.Join(names, ", "), t.Terms.Hold)
}

// said is what the host told before and after its snapshot.
func (t *conducting) said(after map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, t.Details)
	maps.Copy(out, after)
	return out
}

// reason tells why a party ended before the host was done.
func reason(e ended) error {
	if e.err != nil {
		return fmt.Errorf("%s: %w", e.party.Name, e.err)
	}
	return fmt.Errorf("the run of %s ended before the host's snapshot", e.party.Name)
}

func gaveUp(verb hook.Verb) error {
	if verb == hook.Post {
		return ErrEarly
	}
	return ErrAborted
}

// cannotFreeze gives up before anything is held. The kernel may need longer than the host waits.
func (t *conducting) cannotFreeze(inTime context.Context, err error) {
	outcome := hook.Failed
	if errors.Is(inTime.Err(), context.DeadlineExceeded) {
		outcome = hook.TimedOut
	}
	t.giveUp(outcome, err)
}

func (t *conducting) atTheEnd() {
	if t.holds {
		t.giveUp(hook.Expired, fmt.Errorf("everything was released after %s: %w", t.Terms.Hold, ErrExpired))
		return
	}
	t.giveUp(hook.TimedOut, fmt.Errorf("it could not be held inside %s, and nothing is held now", t.Terms.Limit))
}

func (t *conducting) giveUp(outcome hook.Outcome, why error) { t.outcome, t.stop = outcome, why }

func (t *conducting) outcomeOf(err error) hook.Outcome {
	switch {
	case t.holds:
		return hook.Lost
	case errors.Is(err, ErrNotReady), errors.Is(err, database.ErrBusy), errors.Is(err, lock.ErrBusy):
		return hook.NotReady
	}
	return hook.Failed
}

// release thaws, then lets everybody go.
func (t *conducting) release(ctx context.Context, said map[string]string) {
	times, err := t.thaw(ctx)
	if err != nil && t.stop == nil {
		t.giveUp(hook.Lost, err)
	} else if err != nil {
		t.stop = errors.Join(t.stop, err)
	}
	t.gate.end(said, times, t.stop)
}

func (t *conducting) note(e ended) {
	t.active--
	t.all = append(t.all, e)
}

// result is what all of it was worth: as much as the least of its points. The host calls its snapshot application-consistent or not,
// whatever less an instance may be content with.
func (t *conducting) result() Result {
	r := Result{Outcome: t.outcome}
	var failures []error
	if t.stop != nil {
		failures = append(failures, t.stop)
	} else {
		r.Outcome = hook.Released
	}
	for _, e := range t.all {
		if e.err != nil && !t.known(e.err) {
			failures = append(failures, fmt.Errorf("%s: %w", e.party.Name, e.err))
		}
		if e.point == nil {
			continue
		}
		r.Points = append(r.Points, e.point)
		if e.point.Consistency != catalog.Application {
			failures = append(failures, fmt.Errorf("%s: point %s is %s, not %s: %s", e.party.Name, e.point.ID, e.point.Consistency, catalog.Application, e.point.ConsistencyReason))
		}
	}
	if t.unfrozen != nil {
		failures = append(failures, t.unfrozen)
	}
	if len(failures) > 0 && r.Outcome == hook.Released {
		r.Outcome = hook.Lost
	}
	r.Err = errors.Join(failures...)
	return r
}

// known reports whether an error only says that everything was given up, which is said once.
func (t *conducting) known(err error) bool {
	var stuck *undo.Stuck
	return t.stop != nil && !errors.As(err, &stuck) &&
		(errors.Is(err, t.stop) || errors.Is(err, context.Canceled) || errors.Is(err, errOther) || errors.Is(t.stop, err))
}

// freezing is the freeze of all file systems, where the host does not freeze them: one for all instances, after all are held.
type freezing struct {
	run      *undo.Run
	close    func()
	guard    *freeze.Guard
	promised *undo.Promised[time.Time]
}

// graceOfGuard is how much longer than the deadline the guard waits: it is there for when we are not.
const graceOfGuard = time.Second

// prepareFreeze starts the guard and promises the thaw, once, while nothing is held.
func (t *conducting) prepareFreeze(ctx context.Context) (err error) {
	mounts := t.gate.toFreeze()
	if !t.Terms.Freeze || t.freezing != nil || len(mounts) == 0 {
		return nil
	}
	f := &freezing{}
	if f.run, f.close, err = t.Run(); err != nil {
		return err
	}
	t.freezing = f
	if f.guard, err = freeze.Start(ctx, mounts, t.Terms.Hold+graceOfGuard, filepath.Join(t.RunDir, f.run.ID+".freeze")); err != nil {
		return err
	}
	if f.promised, err = undo.Promise(f.run, f.guard.Step(f.run.ID)); err != nil {
		return err
	}
	f.run.Seal()
	return nil
}

func (t *conducting) freeze(ctx context.Context) error {
	if t.freezing == nil {
		return nil
	}
	_, err := t.freezing.promised.Act(ctx)
	return err
}

// thaw takes the freeze back, and writes nothing: everybody is held still.
func (t *conducting) thaw(ctx context.Context) (times freeze.Times, err error) {
	f := t.freezing
	if f == nil || f.promised == nil {
		return times, nil
	}
	err = f.run.Undo(ctx, f.promised.Receipt)
	return f.guard.Times(), err
}

// closeFreeze ends the guard and the ledger of the freeze; what could not be thawed before is tried once more.
func (t *conducting) closeFreeze(ctx context.Context) error {
	f := t.freezing
	if f == nil {
		return nil
	}
	err := f.run.Unwind(ctx)
	_ = f.guard.Close()
	f.close()
	return err
}
