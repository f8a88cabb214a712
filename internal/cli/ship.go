package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/ship"
	"github.com/holdstill/holdstill/internal/wire"
)

// shipLock is held while points of an instance are shipped: not the instance's own, since backups go on meanwhile.
func (a *app) shipLock(instance string) (*lock.Lock, error) {
	return lock.Take(a.dirs.Run, "ship:"+instance)
}

// paranoidVariable, set to 1, makes every ship a paranoid one: for tests, which so find out whenever a file system is wrong.
const paranoidVariable = "HOLDSTILL_PARANOID"

// shipPatience is how long a store that does not answer is tried again.
const shipPatience = 10 * time.Minute

// shipPoint sends a point to the repository and notes it in the catalogue. The point that it returns is as it is recorded now.
func (a *app) shipPoint(ctx context.Context, store repository.Store, p *catalog.Point, paranoid bool) (*catalog.Point, *ship.Result, error) {
	held, err := a.shipLock(p.Instance)
	if err != nil {
		return p, nil, err
	}
	defer held.Close()
	now, err := a.catalogue().Get(p.ID) // pins and removals take the lock too: what is read now is what the repository is told
	if err == nil {
		err = shippable(now)
	}
	if err != nil {
		return p, nil, err
	}
	p = now
	gentle()
	show, end := a.shipProgress()
	result, err := ship.Ship(ctx, ship.Request{Point: p, Before: a.earlierCuts(p), Paranoid: paranoid || os.Getenv(paranoidVariable) == "1", Patience: shipPatience},
		ship.Deps{Store: store, Open: wire.Open, Progress: show, Log: a.log})
	end()
	if err != nil {
		return p, nil, err
	}
	if result.There && p.Repository == nil {
		a.takeShipment(ctx, store, p.ID, result)
	}
	shipped, err := a.noteShipped(ctx, p, result)
	return shipped, result, err
}

// shippable refuses what cannot be read here, or is to go.
func shippable(p *catalog.Point) error {
	switch {
	case p.Status == catalog.Expired:
		return fmt.Errorf("point %s is being removed: %w", p.ID, catalog.ErrNotFound)
	case wire.ByHost(p):
		return usagef("the snapshot of point %s was taken by a host, which has it: only points whose snapshot is on this machine can be shipped", p.ID)
	case len(p.Snapshot.Refs) == 0:
		return fmt.Errorf("point %s has no snapshot on this machine: %w", p.ID, catalog.ErrNotFound)
	}
	return nil
}

// takeShipment is for a point that was shipped, and a kill kept us from noting it: its description says how.
func (a *app) takeShipment(ctx context.Context, store repository.Store, id string, r *ship.Result) {
	s, err := wire.FindStored(ctx, store, id)
	if err == nil {
		var p *catalog.Point
		if p, err = wire.Described(s); err == nil {
			r.Shipment = *p.Repository
		}
	}
	if err != nil {
		a.log.Warn(err.Error(), "point", id)
	}
}

// earlierCuts are the instance's points whose cut is here, newest first.
func (a *app) earlierCuts(p *catalog.Point) []*catalog.Point {
	points, _ := a.catalogue().List(p.Instance) // what cannot be read cannot be compared with
	points = slices.DeleteFunc(points, func(o *catalog.Point) bool {
		return o.ID == p.ID || o.Host != p.Host || len(o.Snapshot.Refs) == 0 || o.Repository == nil
	})
	slices.Reverse(points)
	return points
}

// noteShipped enters the shipment. The entry is read again under the instance's lock: somebody may have verified it meanwhile. If another run
// keeps the instance, the next import does it.
func (a *app) noteShipped(ctx context.Context, p *catalog.Point, r *ship.Result) (*catalog.Point, error) {
	held, err := a.waitFor(ctx, p.Instance)
	if isBusy(err) && ctx.Err() == nil {
		a.log.Warn(fmt.Sprintf("point %s is in the repository; it is noted at the next points list, since another run holds the instance %s", p.ID, p.Instance))
		now := *p
		note(&now, r)
		return &now, nil
	}
	if err != nil {
		return p, fmt.Errorf("point %s is in the repository, but cannot be noted as shipped: %w", p.ID, errors.Join(err, ctx.Err()))
	}
	defer held.Close()
	now, err := a.catalogue().Get(p.ID)
	if err != nil {
		return p, err
	}
	note(now, r)
	return now, a.catalogue().Put(now)
}

// note changes the entry of a point that was shipped.
func note(p *catalog.Point, r *ship.Result) {
	if p.Status == catalog.Recorded {
		p.Status = catalog.Shipped
	}
	if !r.There || p.Repository == nil {
		p.Repository = &r.Shipment
	}
	p.Warnings = slices.Clone(p.Warnings)
	for _, w := range r.Warnings {
		if !slices.Contains(p.Warnings, w) {
			p.Warnings = append(p.Warnings, w)
		}
	}
}

// lockPatience is how long a shipment waits to be noted: others wait for its own lock meanwhile.
var lockPatience = time.Minute

// waitFor takes the instance's lock as soon as the run that has it ends, if that is soon.
func (a *app) waitFor(ctx context.Context, instance string) (*lock.Lock, error) {
	for begun, told := time.Now(), false; ; {
		held, err := lock.Take(a.dirs.Run, instance)
		if !errors.Is(err, lock.ErrBusy) || time.Since(begun) > lockPatience {
			return held, err
		}
		if !told {
			a.log.Info("Waiting to note the shipment: "+err.Error(), "patience", lockPatience)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// shipAfter ships the point that a backup just took. Where there is no repository that is no fault.
func (a *app) shipAfter(ctx context.Context, p *catalog.Point) (*catalog.Point, *ship.Result, error) {
	store, err := a.openStore(ctx)
	if errors.Is(err, wire.ErrNoRepository) {
		return p, nil, nil
	}
	if err == nil {
		defer func() { _ = store.Close(context.WithoutCancel(ctx)) }()
		var result *ship.Result
		if p, result, err = a.shipPoint(ctx, store, p, false); err == nil {
			return p, result, nil
		}
	}
	return p, nil, withHint{onlyHere{fmt.Errorf("point %s is recorded on this machine only: %w", p.ID, err)}, "holdstill points ship " + p.ID}
}

// ship sends points that are not in the repository yet.
func (a *app) ship(ctx context.Context, name, instance string, all, paranoid bool) error {
	points, err := a.unshipped(name, instance, all)
	if err != nil {
		return err
	}
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close(context.WithoutCancel(ctx)) }()
	if !all {
		now, result, err := a.shipPoint(ctx, store, points[0], paranoid)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(now)
		}
		a.printShipped(now, result)
		return nil
	}
	return a.shipAll(ctx, store, points, paranoid)
}

// shipAll goes on after a failure that is not the repository's for good.
func (a *app) shipAll(ctx context.Context, store repository.Store, points []*catalog.Point, paranoid bool) error {
	shipped := []*catalog.Point{}
	busy := map[string]bool{}
	var faults []error
	for _, p := range points {
		if busy[p.Instance] {
			continue
		}
		now, result, err := a.shipPoint(ctx, store, p, paranoid)
		busy[p.Instance] = isBusy(err)
		if err != nil {
			faults = append(faults, err)
			if ctx.Err() != nil || lost(err) {
				break
			}
			continue
		}
		shipped = append(shipped, now)
		if !a.json {
			a.printShipped(now, result)
		}
	}
	var err error
	if a.json {
		err = a.printJSON(shipped)
	} else if len(points) == 0 {
		err = a.say(nil, "every point is in the repository")
	}
	if len(faults) > 0 {
		err = errors.Join(err, besides{errors.Join(faults...)})
	}
	return err
}

// lost tells whether no other point could be shipped either.
func lost(err error) bool {
	for _, kind := range []error{repository.ErrPassword, repository.ErrNone, repository.ErrOther, repository.ErrForeign, syscall.ENOSPC, syscall.EROFS} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// unshipped are the points to ship, oldest first, so that each finds the one before it.
func (a *app) unshipped(name, instance string, all bool) ([]*catalog.Point, error) {
	if !all {
		p, err := a.catalogue().Find(name, instance)
		if err == nil {
			err = shippable(p)
		}
		return []*catalog.Point{p}, err
	}
	points, err := a.catalogue().List(instance)
	return slices.DeleteFunc(points, func(p *catalog.Point) bool {
		return p.Repository != nil || shippable(p) != nil || p.Host != hostname.Name()
	}), err
}

func (a *app) printShipped(p *catalog.Point, r *ship.Result) {
	if r.There {
		fmt.Fprintf(a.stdout, "point %s is in the repository already\n", p.ID)
		return
	}
	rate := float64(r.Counts.Done()) / max(r.Took.Seconds(), 0.001)
	fmt.Fprintf(a.stdout, "shipped point %s: %s in %d files, %s read, %s sent, in %s (%s/s); %s\n", p.ID, humanize.IBytes(uint64(r.Total)), r.Files,
		humanize.IBytes(uint64(r.ReadBytes)), humanize.IBytes(uint64(r.NewBytes)), r.Took.Round(10*time.Millisecond), humanize.IBytes(uint64(rate)), r.Basis())
}

// shipProgress draws a bar on a terminal; elsewhere it says every half minute how far it is.
func (a *app) shipProgress() (func(ship.Event), func()) {
	var mu sync.Mutex
	if a.json || !isTerminal(a.stderr) {
		begun, last := time.Now(), time.Now()
		return func(e ship.Event) {
			mu.Lock()
			defer mu.Unlock()
			if time.Since(last) < 30*time.Second {
				return
			}
			last = time.Now()
			a.log.Info("Shipping", "done", humanize.IBytes(uint64(e.Counts.Done())), "total", humanize.IBytes(uint64(e.Total)),
				"sent", humanize.IBytes(uint64(e.Counts.Uploaded)), "rate", humanize.IBytes(uint64(e.Rate))+"/s", "eta", e.ETA, "since", time.Since(begun).Round(time.Second))
		}, func() {}
	}
	var bar *progressbar.ProgressBar
	return func(e ship.Event) {
			mu.Lock()
			defer mu.Unlock()
			if bar == nil {
				bar = progressbar.NewOptions64(e.Total, progressbar.OptionSetWriter(a.stderr), progressbar.OptionShowBytes(true),
					progressbar.OptionSetDescription("ship"), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish())
			}
			_ = bar.Set64(e.Counts.Done())
		}, func() {
			mu.Lock()
			defer mu.Unlock()
			if bar != nil {
				_ = bar.Finish()
			}
		}
}
