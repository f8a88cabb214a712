package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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

// shipPatience is how long a store that does not answer is tried again.
const shipPatience = 10 * time.Minute

// shipPoint sends a point to the repository and notes it in the catalogue. The point that it returns is as it is recorded now.
func (a *app) shipPoint(ctx context.Context, store repository.Store, p *catalog.Point, paranoid bool) (*catalog.Point, *ship.Result, error) {
	held, err := a.shipLock(p.Instance)
	if err != nil {
		return p, nil, err
	}
	defer held.Close()
	gentle()
	show, end := a.shipProgress()
	result, err := ship.Ship(ctx, ship.Request{Point: p, Before: a.earlierCuts(p), Paranoid: paranoid, Patience: shipPatience},
		ship.Deps{Store: store, Open: wire.Open, Progress: show, Log: a.log})
	end()
	if err != nil {
		return p, nil, err
	}
	shipped, err := a.noteShipped(ctx, p, result)
	return shipped, result, err
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

// noteShipped enters the shipment. The entry is read again under the instance's lock: somebody may have pinned it meanwhile.
func (a *app) noteShipped(ctx context.Context, p *catalog.Point, r *ship.Result) (*catalog.Point, error) {
	held, err := a.waitFor(ctx, p.Instance)
	if err != nil {
		return p, fmt.Errorf("point %s is in the repository, but cannot be noted as shipped: %w", p.ID, err)
	}
	defer held.Close()
	now, err := a.catalogue().Find(p.ID, "")
	if err != nil {
		return p, err
	}
	if now.Status == catalog.Recorded {
		now.Status = catalog.Shipped
	}
	if !r.There || now.Repository == nil {
		now.Repository = &r.Shipment
	}
	for _, w := range r.Warnings {
		if !slices.Contains(now.Warnings, w) {
			now.Warnings = append(now.Warnings, w)
		}
	}
	return now, a.catalogue().Put(now)
}

// waitFor takes the instance's lock as soon as the run that has it ends.
func (a *app) waitFor(ctx context.Context, instance string) (*lock.Lock, error) {
	for {
		held, err := lock.Take(a.dirs.Run, instance)
		if !errors.Is(err, lock.ErrBusy) {
			return held, err
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
	return p, nil, withHint{fmt.Errorf("point %s is recorded on this machine only: %w", p.ID, err), "holdstill points ship " + p.ID}
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
	shipped := []*catalog.Point{}
	for _, p := range points {
		now, result, err := a.shipPoint(ctx, store, p, paranoid)
		if err != nil {
			return err
		}
		shipped = append(shipped, now)
		if !a.json {
			a.printShipped(now, result)
		}
	}
	if a.json && all {
		return a.printJSON(shipped)
	}
	if a.json {
		return a.printJSON(shipped[0])
	}
	if len(points) == 0 {
		return a.say(nil, "every point is in the repository")
	}
	return nil
}

// unshipped are the points to ship, oldest first, so that each finds the one before it.
func (a *app) unshipped(name, instance string, all bool) ([]*catalog.Point, error) {
	if !all {
		p, err := a.catalogue().Find(name, instance)
		if err == nil && len(p.Snapshot.Refs) == 0 {
			err = fmt.Errorf("point %s has no snapshot on this machine: %w", p.ID, catalog.ErrNotFound)
		}
		return []*catalog.Point{p}, err
	}
	points, err := a.catalogue().List(instance)
	return slices.DeleteFunc(points, func(p *catalog.Point) bool {
		return p.Repository != nil || p.Status == catalog.Expired || len(p.Snapshot.Refs) == 0 || p.Host != hostname.Name()
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
	if a.json || !isTerminal(a.stderr) {
		begun, last := time.Now(), time.Now()
		var mu sync.Mutex
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
			if bar == nil {
				bar = progressbar.NewOptions64(e.Total, progressbar.OptionSetWriter(a.stderr), progressbar.OptionShowBytes(true),
					progressbar.OptionSetDescription("ship"), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish())
			}
			_ = bar.Set64(e.Counts.Done())
		}, func() {
			if bar != nil {
				_ = bar.Finish()
			}
		}
}
