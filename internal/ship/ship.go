// Package ship sends a point to a repository, away from the machine, and says what of it was already there.
//
// It reads from the cut, never from the live server. Where the cut of the last point that the repository holds is still here, it asks the
// file system which bytes may differ (package extent) and reads only those; all else is taken over by reference. Every stored point is a
// whole one all the same.
//
// A ship that fails, or is killed, changes nothing: the local point stays as it is, nothing of the stored one is seen by anybody, and the
// next attempt finds what was sent.
package ship

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// Request is what is to be shipped.
type Request struct {
	Point *catalog.Point
	// Before are the instance's points whose cut is still here, newest first: the first that the repository holds is compared with.
	Before []*catalog.Point
	// Paranoid reads everything, and fails if the file system was wrong about what changed.
	Paranoid bool
	// Patience is how long a store is tried again to which nothing can be sent; 0: not at all.
	Patience time.Duration
}

// Deps is what shipping needs from others.
type Deps struct {
	Store repository.Store
	// Open opens a local cut for reading.
	Open func(context.Context, snapshot.Ref) (snapshot.Tree, error)
	// Progress gets events; nil: none are wanted. It must not block.
	Progress func(Event)
	Log      *slog.Logger
}

// Event is progress for people.
type Event struct {
	Counts repository.Counts
	Total  int64         // bytes of all files
	Rate   float64       // bytes dealt with in a second
	ETA    time.Duration // 0: unknown
}

// Result is what was shipped.
type Result struct {
	catalog.Shipment
	Compared string            // the point that was compared with; "" if everything had to be read
	Why      string            // why nothing was compared, where nothing was
	Files    int               // of the point
	Total    int64             // their bytes
	Counts   repository.Counts // of the last attempt
	Took     time.Duration
	There    bool // the repository held the point already
	Warnings []string
}

// Ship sends a point, and tries again as long as the request's patience lasts where the store is to blame.
func Ship(ctx context.Context, r Request, deps Deps) (*Result, error) {
	begun, moved, pause := time.Now(), time.Now(), time.Second // moved: when something last arrived
	for {
		result, err := attempt(ctx, r, deps)
		if err == nil {
			result.Took = time.Since(begun)
			return result, nil
		}
		if result.Counts.Uploaded > 0 {
			moved, pause = time.Now(), time.Second
		}
		if ctx.Err() != nil || !transient(err) || time.Since(moved)+pause > r.Patience {
			return nil, fmt.Errorf("cannot ship the point %s: %w", r.Point.ID, err)
		}
		deps.Log.Warn("shipping failed, and is tried again: "+err.Error(), "point", r.Point.ID, "pause", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Minute)
	}
}

// attempt sends the point once. After an error the result tells how much was sent.
func attempt(ctx context.Context, r Request, deps Deps) (result *Result, err error) {
	result = &Result{}
	stored, err := deps.Store.Points(ctx)
	if err != nil {
		return result, err
	}
	if s, there := find(stored, r.Point.ID); there {
		return &Result{Shipment: catalog.Shipment{ID: s.Handle}, There: true}, nil
	}
	cut, err := open(ctx, r.Point, deps)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, cut.close()) }()
	if err := cut.list(); err != nil {
		return result, fmt.Errorf("cannot list the files of the cut: %w", err)
	}
	base := findBase(ctx, r, stored, deps)
	defer func() { err = errors.Join(err, base.close()) }()
	*result = Result{Files: len(cut.files), Total: cut.bytes, Compared: base.point(), Why: base.why, Warnings: cut.warnings}
	return result, send(ctx, r, deps, cut, base, result)
}

func find(stored []repository.Stored, point string) (repository.Stored, bool) {
	for _, s := range stored {
		if s.Point == point {
			return s, true
		}
	}
	return repository.Stored{}, false
}

// send writes all files, the directories and the description.
func send(ctx context.Context, r Request, deps Deps, cut *contents, base *base, result *Result) (err error) {
	result.Chunk = repository.ChunkFor(cut.bytes, base.chunk)
	w, err := deps.Store.Begin(ctx, repository.Session{Instance: r.Point.Instance, Host: r.Point.Host, Chunk: result.Chunk,
		Progress: newMeter(cut.bytes, deps.Progress).tell})
	if err != nil {
		return err
	}
	defer func() {
		result.Counts = w.Counts()
		err = errors.Join(err, w.Close(context.WithoutCancel(ctx)))
	}()
	if err := fault.At("ship.begun"); err != nil {
		return err
	}
	if err := cut.put(ctx, w, base, r.Paranoid); err != nil {
		return err
	}
	if err := fault.At("ship.sent"); err != nil {
		return err
	}
	counts := w.Counts()
	result.ReadBytes, result.NewBytes = counts.Read, counts.Uploaded
	d, err := describe(r.Point, result.Shipment)
	if err != nil {
		return err
	}
	stored, err := w.Commit(ctx, cut.root, d)
	if err != nil {
		return err
	}
	result.ID, result.NewBytes = stored.Handle, w.Counts().Uploaded
	return fault.At("ship.committed")
}

// describe is the point as other hosts will see it: as shipped.
func describe(p *catalog.Point, s catalog.Shipment) (repository.Description, error) {
	entry := *p
	entry.Status, entry.Repository = catalog.Shipped, &s
	raw, err := json.Marshal(entry)
	return repository.Description{Point: p.ID, Instance: p.Instance, Host: p.Host, TakenAt: p.TakenAt, Pinned: p.Pinned, Entry: raw}, err
}

// transient tells whether a later attempt may succeed: what the cut, the disk or the password are to blame for does not go away.
func transient(err error) bool {
	return !repository.Lasting(err) && !errors.Is(err, errCut) && !errors.Is(err, fault.ErrInjected)
}
