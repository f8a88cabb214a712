package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/wire"
)

// imports is what importPoints did.
type imports struct {
	entered int             // points that are new
	busy    map[string]bool // instances of which something was left as it is known, since another run has them
}

// importPoints enters into the catalogue what the repository holds and this machine does not know, and takes out what it only knew from
// there and is no longer held. Of a point that is known it takes the pin, which any machine may change, and the shipment, if a kill
// kept this one from noting it. What changed here while the repository was asked is left for the next time.
func (a *app) importPoints(ctx context.Context, store repository.Store) (imports, error) {
	in := imports{busy: map[string]bool{}}
	points, _ := a.catalogue().List("") // what cannot be read is told by points list
	stored, err := store.Points(ctx)
	if err != nil {
		return in, err
	}
	known := map[string]*catalog.Point{}
	for _, p := range points {
		known[p.ID] = p
	}
	held := map[string]bool{}
	for _, s := range stored {
		if held[s.Point] {
			continue
		}
		held[s.Point] = true
		p, err := wire.Described(s)
		if err != nil {
			a.log.Warn(err.Error())
			continue
		}
		if was := known[p.ID]; was != nil {
			err = a.merge(ctx, store, s, was, p, in)
		} else {
			err = a.enter(ctx, p, &in)
		}
		if err != nil {
			return in, err
		}
	}
	for _, p := range points {
		if p.Repository == nil || held[p.ID] {
			continue
		}
		if err := a.forgetGone(p, in); err != nil {
			return in, err
		}
	}
	return in, nil
}

// enter enters a point that was not known. One of this machine gets back the snapshots that are still there.
func (a *app) enter(ctx context.Context, p *catalog.Point, in *imports) error {
	if p.Host == hostname.Name() {
		held, err := a.lockFor(p, *in)
		if held == nil {
			return err
		}
		defer held.Close()
		if err := opens(ctx, p, wire.Open); err != nil {
			a.log.Info("a snapshot of the point is not there any more, so it is only in the repository: "+err.Error(), "point", p.ID)
			p.Snapshot.Refs = []snapshot.Ref{}
		}
	}
	if a.catalogue().Has(p.ID) { // since we looked, or it cannot be read
		return nil
	}
	in.entered++
	return a.catalogue().Put(p)
}

// merge changes of a known point what the repository knows better.
func (a *app) merge(ctx context.Context, store repository.Store, s repository.Stored, was, p *catalog.Point, in imports) error {
	if was.Host != p.Host || was.Instance != p.Instance {
		a.log.Warn(fmt.Sprintf("the repository holds a point %s of %q on %q, and this machine one of %q on %q: it is left out", p.ID, p.Instance, p.Host, was.Instance, was.Host))
		return nil
	}
	if was.Repository != nil && was.Pinned == p.Pinned && was.Repository.ID == p.Repository.ID {
		return nil
	}
	return a.change(was, in, func(now *catalog.Point) error {
		if now.Repository == nil && now.Pinned && !p.Pinned { // pinned when nobody here knew that it is there
			var err error
			if s, err = pinStored(ctx, store, s, true); err != nil {
				a.log.Warn("the repository could not be told that the point is pinned: "+err.Error(), "point", p.ID)
				return nil
			}
			p.Pinned, p.Repository.ID = true, s.Handle
		}
		if now.Repository == nil {
			now.Repository = p.Repository
			if now.Status == catalog.Recorded {
				now.Status = catalog.Shipped
			}
		}
		now.Pinned, now.Repository.ID = p.Pinned, p.Repository.ID
		return a.catalogue().Put(now)
	})
}

// forgetGone takes out a point that was only in the repository and is there no more. What still has a cut here stays, unshipped.
func (a *app) forgetGone(was *catalog.Point, in imports) error {
	return a.change(was, in, func(now *catalog.Point) error {
		if now.Host == hostname.Name() && now.Status != catalog.Expired {
			a.log.Warn("the repository does not list this point any more: another machine removed it, or an index is damaged (see docs/repository.md, Damage)", "point", now.ID)
		}
		if len(now.Snapshot.Refs) == 0 {
			return a.catalogue().Forget(now.ID)
		}
		if now.Status == catalog.Expired {
			return nil
		}
		now.Status, now.Repository = catalog.Recorded, nil
		return a.catalogue().Put(now)
	})
}

// change does something with an entry, under the lock of its instance and if it is as it was: else the next import will.
func (a *app) change(was *catalog.Point, in imports, do func(*catalog.Point) error) error {
	held, err := a.lockFor(was, in)
	if held == nil {
		return err
	}
	defer held.Close()
	now, err := a.catalogue().Get(was.ID)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if now.Pinned != was.Pinned || now.Status != was.Status || (now.Repository == nil) != (was.Repository == nil) ||
		now.Repository != nil && now.Repository.ID != was.Repository.ID {
		in.busy[was.Instance] = true
		return nil
	}
	return do(now)
}

// lockFor takes the lock of a point's instance; nil without an error: another run has it.
func (a *app) lockFor(p *catalog.Point, in imports) (*lock.Lock, error) {
	held, err := lock.Take(a.dirs.Run, p.Instance)
	if errors.Is(err, lock.ErrBusy) {
		in.busy[p.Instance] = true
		return nil, nil
	}
	return held, err
}

// pinStored puts a pin into a stored point, or takes it out.
func pinStored(ctx context.Context, store repository.Store, s repository.Stored, pinned bool) (repository.Stored, error) {
	d, err := wire.WithPin(s, pinned)
	if err != nil {
		return s, err
	}
	return store.Describe(ctx, s, d)
}
