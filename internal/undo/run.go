package undo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdstill/holdstill/internal/fault"
)

// cleanupLimit bounds one undo, which runs after cancellation too, unless its deed says otherwise.
const cleanupLimit = 10 * time.Minute

// ErrGone marks the error of an undo that found its change ended by somebody else (a lock whose connection was killed, a freeze
// thawed by its guard): there is nothing left to take back, so the deed closes, but the error tells the caller.
var ErrGone = errors.New("it had ended before")

// Run is one attempt to do something that must leave nothing behind. One goroutine uses it.
type Run struct {
	ID       string
	Instance string

	ledger   *ledger
	registry Registry
	log      *slog.Logger

	mu       sync.Mutex
	receipts []*Receipt
	sealed   bool
	waiting  []record
}

// Receipt stands for one promised deed.
type Receipt struct {
	Deed Deed

	n     int
	begun bool
	open  bool
	undo  func(context.Context) error
}

// Open reports whether the deed still has to be undone or kept.
func (r *Receipt) Open() bool { return r.open }

// Begin opens the ledger of a new run below dir (STATE/runs) and syncs it.
func Begin(dir, id, instance string, registry Registry, log *slog.Logger) (*Run, error) {
	l, err := createLedger(dir, id, instance)
	if err != nil {
		return nil, err
	}
	return &Run{ID: id, Instance: instance, ledger: l, registry: registry, log: log}, nil
}

// Promised is a step that may act.
type Promised[T any] struct {
	*Receipt
	run  *Run
	step Step[T]
}

// Promise writes down how the step is taken back and syncs it. It fails without effect if the ledger cannot be written,
// and on a sealed run, where nothing may be written.
func Promise[T any](run *Run, step Step[T]) (*Promised[T], error) {
	if err := fault.At(step.Deed.Stage + ".promise"); err != nil {
		return nil, err
	}
	receipt, err := run.promise(step.Deed, step.Undo, step.Over)
	if err != nil {
		return nil, err
	}
	return &Promised[T]{Receipt: receipt, run: run, step: step}, nil
}

// Act makes the promised change. After an error the deed stays open: undo follows intent, not success.
func (p *Promised[T]) Act(ctx context.Context) (T, error) {
	var zero T
	if err := fault.At(p.Deed.Stage + ".act"); err != nil {
		return zero, err
	}
	p.run.mu.Lock()
	p.begun = true
	p.run.mu.Unlock()
	out, err := p.step.Act(ctx)
	if err != nil {
		return zero, err
	}
	if err := fault.At(p.Deed.Stage + ".acted"); err != nil {
		return out, err
	}
	return out, nil
}

// Do promises a step and acts.
func Do[T any](ctx context.Context, run *Run, step Step[T]) (T, *Receipt, error) {
	p, err := Promise(run, step)
	if err != nil {
		var zero T
		return zero, nil, err
	}
	out, err := p.Act(ctx)
	return out, p.Receipt, err
}

func (run *Run) promise(d Deed, live func(context.Context) error, over []*Receipt) (*Receipt, error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.sealed {
		return nil, fmt.Errorf("cannot promise to undo %q: the ledger is sealed", d.Title)
	}
	r := &Receipt{Deed: d, n: len(run.receipts) + 1, open: true, undo: live}
	if r.undo == nil {
		undoer, ok := run.registry[d.Kind]
		if !ok {
			return nil, fmt.Errorf("cannot promise to undo %q: nobody undoes the kind %q", d.Title, d.Kind)
		}
		r.undo = func(ctx context.Context) error { return undoer(ctx, d) }
	}
	promise := record{Op: opPromise, N: r.n, Deed: &d}
	for _, o := range over {
		promise.Over = append(promise.Over, o.n)
	}
	if err := run.ledger.append(promise); err != nil {
		return nil, fmt.Errorf("cannot promise to undo %q: %w", d.Title, err)
	}
	for _, o := range over {
		o.open = false
		r.begun = true // there is something to take back, whether it acts or not
	}
	run.receipts = append(run.receipts, r)
	return r, nil
}

// Undo takes one deed back. A deed that never began is only closed. It runs to its end even if ctx is cancelled.
func (run *Run) Undo(ctx context.Context, r *Receipt) error {
	if r == nil || !r.open {
		return nil
	}
	if r.begun {
		if err := fault.At(r.Deed.Stage + ".undo"); err != nil {
			return run.undoFailed(r, err)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(cleanupLimit, r.Deed.Limit))
		defer cancel()
		if err := r.undo(ctx); errors.Is(err, ErrGone) {
			return errors.Join(run.undoFailed(r, err), run.closeDeed(r, opUndone))
		} else if err != nil {
			return run.undoFailed(r, err)
		}
		if err := fault.At(r.Deed.Stage + ".undone"); err != nil {
			return run.undoFailed(r, err)
		}
	}
	return run.closeDeed(r, opUndone)
}

func (run *Run) undoFailed(r *Receipt, err error) error {
	return fmt.Errorf("cannot take back %q: %w", r.Deed.Title, err)
}

// Keep closes a deed that stays: the catalogue, or the user, owns it now.
func (run *Run) Keep(r *Receipt) error { return run.closeDeed(r, opKept) }

// OpenDeeds counts the deeds that are neither taken back nor kept.
func (run *Run) OpenDeeds() int {
	n := 0
	for _, r := range run.receipts {
		if r.open {
			n++
		}
	}
	return n
}

// KeepCommitted keeps every open deed that belongs to the catalogue once the run's point is recorded.
func (run *Run) KeepCommitted() error {
	var all []error
	for _, r := range run.receipts {
		if r.open && r.Deed.UntilCommit {
			all = append(all, run.Keep(r))
		}
	}
	return errors.Join(append(all, fault.At("keep.written"))...)
}

func (run *Run) closeDeed(r *Receipt, op string) error {
	run.mu.Lock()
	defer run.mu.Unlock()
	r.open = false
	rec := record{Op: op, N: r.n}
	if run.sealed {
		run.waiting = append(run.waiting, rec)
		return nil
	}
	return run.ledger.append(rec)
}

// Unwind takes back everything still open, last first, and stops for nothing: a deed that cannot be taken back does not
// keep the others from it. The error joins all failures. It ends with the ledger unsealed.
func (run *Run) Unwind(ctx context.Context) error {
	var all []error
	for i := len(run.receipts) - 1; i >= 0; i-- {
		r := run.receipts[i]
		if !r.open {
			continue
		}
		if err := run.Undo(ctx, r); err != nil && r.open {
			all = append(all, &Stuck{Run: run.ID, Instance: run.Instance, Deed: r.Deed, Err: err})
		}
	}
	return errors.Join(append(all, run.Unseal())...)
}

// Seal forbids writing: from here to Unseal everything was promised before, and what is closed waits in memory.
func (run *Run) Seal() {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.sealed = true
	if run.waiting == nil {
		run.waiting = make([]record, 0, 16)
	}
}

// Unseal writes down what was closed since Seal. A failure is harmless to the world: a later process takes back again.
func (run *Run) Unseal() error {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.sealed = false
	err := run.ledger.append(run.waiting...)
	run.waiting = run.waiting[:0]
	return err
}

// End closes the ledger, and removes it if nothing is open.
func (run *Run) End() error {
	for _, r := range run.receipts {
		if r.open {
			return run.ledger.close()
		}
	}
	return run.ledger.remove()
}

// Stuck is a deed that could not be taken back. It blocks new runs of its instance.
type Stuck struct {
	Run, Instance string
	Deed          Deed
	Err           error
}

func (s *Stuck) Error() string { return s.Err.Error() }
func (s *Stuck) Unwrap() error { return s.Err }

// Hint is what an operator would type.
func (s *Stuck) Hint() string {
	if s.Deed.Manual == "" {
		return ""
	}
	return "type: " + s.Deed.Manual
}
