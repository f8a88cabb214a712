package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/secret"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/wire"
)

// openStore opens the repository of this machine; wire.ErrNoRepository if it has none.
func (a *app) openStore(ctx context.Context) (repository.Store, error) {
	return a.openStoreAsking(ctx, secret.Terminal(a.stdin, a.stderr))
}

// openStoreAsking is openStore where somebody else asks the person.
func (a *app) openStoreAsking(ctx context.Context, ask secret.Ask) (repository.Store, error) {
	c, err := config.Load(a.configPath)
	if errors.Is(err, fs.ErrNotExist) && a.configPath == config.DefaultPath {
		c, err = nil, nil
	}
	if err != nil {
		return nil, usageError{err}
	}
	return wire.OpenRepository(ctx, c, a.dirs, ask)
}

// stock is the repository for the time of one command, opened when it is first needed.
type stock struct {
	app   *app
	once  sync.Once
	store repository.Store
	err   error
}

func (s *stock) open(ctx context.Context) (repository.Store, error) {
	s.once.Do(func() { s.store, s.err = s.app.openStore(ctx) })
	return s.store, s.err
}

func (s *stock) close() {
	s.once.Do(func() { s.err = wire.ErrNoRepository })
	if s.store != nil {
		if err := s.store.Close(context.Background()); err != nil {
			s.app.log.Warn("the repository could not be closed: " + err.Error())
		}
	}
}

// find resolves the name of a point. This machine's own points are all in its catalogue; those of others, and what this one forgot, are
// asked for at the repository first.
func (a *app) find(ctx context.Context, s *stock, name, instance string) (*catalog.Point, error) {
	p, err := a.catalogue().Find(name, instance)
	if err == nil && p.Host == hostname.Name() {
		return p, nil
	}
	store, opening := s.open(ctx)
	if errors.Is(opening, wire.ErrNoRepository) {
		return p, err
	}
	if opening == nil {
		_, opening = a.importPoints(ctx, store)
	}
	if opening != nil {
		a.log.Warn("the repository cannot be asked for newer points: " + opening.Error())
		return p, err
	}
	return a.catalogue().Find(name, instance)
}

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

// from says which copy of a point is used.
type from string

const (
	fromAny        from = ""
	fromLocal      from = "local"
	fromRepository from = "repository"
)

func (f from) check() error {
	switch f {
	case fromAny, fromLocal, fromRepository:
		return nil
	}
	return usagef("--from must be local or repository, not %q", string(f))
}

// source decides where a point's files come from: the cut of this machine if it can be opened, else the repository.
func (a *app) source(ctx context.Context, p *catalog.Point, f from, open opener) (*catalog.Point, error) {
	local := len(p.Snapshot.Refs) > 0
	switch {
	case f == fromLocal && !local:
		return nil, withHint{fmt.Errorf("point %s has no snapshot on this machine: %w", p.ID, catalog.ErrNotFound), "--from repository"}
	case f == fromRepository && p.Repository == nil:
		return nil, withHint{fmt.Errorf("point %s is not in the repository: %w", p.ID, catalog.ErrNotFound), "holdstill points ship " + p.ID}
	case f == fromLocal, p.Repository == nil:
		return p, nil
	case f == fromRepository, !local:
		return wire.Stored(p), nil
	}
	if err := opens(ctx, p, open); err != nil {
		a.log.Warn("the snapshot on this machine cannot be used, so the repository is: "+err.Error(), "point", p.ID)
		return wire.Stored(p), nil
	}
	return p, nil
}

type opener func(context.Context, snapshot.Ref) (snapshot.Tree, error)

func opens(ctx context.Context, p *catalog.Point, open opener) error {
	for _, ref := range p.Snapshot.Refs {
		tree, err := open(ctx, ref)
		if err != nil {
			return err
		}
		if err := tree.Close(); err != nil {
			return err
		}
	}
	return nil
}

// opening opens cuts of this machine with local, and those of the repository by themselves; one that several units share is mounted once.
func (s *stock) opening(local opener, seeds []wire.Seed) opener {
	var mu sync.Mutex
	shared := map[string]*sharedTree{}
	return func(ctx context.Context, ref snapshot.Ref) (snapshot.Tree, error) {
		if ref.Provider != wire.StoredProvider {
			return local(ctx, ref)
		}
		mu.Lock()
		defer mu.Unlock()
		if t := shared[ref.Name]; t != nil && t.users > 0 {
			t.users++
			return t, nil
		}
		store, err := s.open(ctx)
		if err != nil {
			return nil, err
		}
		tree, err := wire.OpenStored(ctx, store, ref.Name, seeds, s.app.log)
		if err != nil {
			return nil, err
		}
		t := &sharedTree{StoredTree: tree, users: 1, mu: &mu}
		shared[ref.Name] = t
		return t, nil
	}
}

// sharedTree is closed with its last user.
type sharedTree struct {
	*wire.StoredTree
	mu    *sync.Mutex
	users int
}

func (t *sharedTree) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users--; t.users > 0 {
		return nil
	}
	return t.StoredTree.Close()
}

// seeds are directories that may hold an older version of the data directory: those that were named; what a restore to the same place left
// that was killed; and, for a restore in place, the instance's own, which is set aside under the run's name before the files are placed.
func seeds(p *catalog.Point, named []string, datadir string, inPlace bool, run string) []wire.Seed {
	real := ""
	for _, l := range p.Paths {
		if l.Purpose == database.DataDir {
			real = l.Place.Real
		}
	}
	var out []wire.Seed
	for _, dir := range named {
		out = append(out, wire.Seed{Real: real, Dir: filepath.Clean(dir)})
	}
	left, _ := filepath.Glob(filepath.Clean(datadir) + ".holdstill-*") // only a pattern can be wrong
	for _, dir := range left {
		out = append(out, wire.Seed{Real: real, Dir: dir})
	}
	if inPlace {
		out = append(out, wire.Seed{Real: real, Dir: filepath.Clean(datadir) + ".before-" + run})
	}
	return out
}

// brief bounds what is asked of the repository only to be polite.
const brief = 20 * time.Second
