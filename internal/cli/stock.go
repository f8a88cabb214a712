package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/hostname"
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
	c, err := a.written()
	if err != nil {
		return nil, err
	}
	return wire.OpenRepository(ctx, c, a.dirs, ask)
}

// stock is the repository for the time of one command, opened when it is first needed.
type stock struct {
	app      *app
	once     sync.Once
	store    repository.Store
	err      error
	borrowed bool // of another stock of this process: a person is asked for a password once
}

func (s *stock) open(ctx context.Context) (repository.Store, error) {
	s.once.Do(func() {
		if first := s.app.opened.or(s); first != s {
			s.store, s.err = first.open(ctx)
			s.borrowed = true
			return
		}
		s.store, s.err = s.app.openStore(ctx)
	})
	return s.store, s.err
}

// openedStock is the first that was opened. Those that follow use its store, until it is forgotten: closed, or left alone since it hangs.
type openedStock struct {
	mu    sync.Mutex
	first *stock
}

// or is the first one: s, if there is none yet.
func (o *openedStock) or(s *stock) *stock {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.first == nil {
		o.first = s
	}
	return o.first
}

func (o *openedStock) forget(s *stock) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.first == s {
		o.first = nil
	}
}

func (s *stock) close() {
	s.once.Do(func() { s.err = wire.ErrNoRepository })
	s.app.opened.forget(s)
	if s.store != nil && !s.borrowed {
		if err := s.store.Close(context.Background()); err != nil {
			s.app.log.Warn("the repository could not be closed: " + err.Error())
		}
	}
}

// find resolves the name of a point, of any instance unless one is named.
func (a *app) find(ctx context.Context, s *stock, name, instance string) (*catalog.Point, error) {
	p, err := a.findAnywhere(ctx, s, name, instance)
	if err == nil && instance == "" && catalog.Relative(name) {
		a.sayWhose(name, p)
	}
	return p, err
}

// sayWhose tells of which instance the latest point is, where it could have been another's.
func (a *app) sayWhose(name string, p *catalog.Point) {
	points, _ := a.catalogue().List("") // what cannot be read was told when the point was looked for
	if slices.ContainsFunc(points, func(other *catalog.Point) bool { return other.Instance != p.Instance || other.Host != p.Host }) {
		a.log.Warn(fmt.Sprintf("%s of all instances is %s, of %s; --instance says which is meant", name, p.ID, whose(p)))
	}
}

// findAnywhere: this machine's own points are all in its catalogue; those of others, and what this one forgot, are asked for at the repository first.
func (a *app) findAnywhere(ctx context.Context, s *stock, name, instance string) (*catalog.Point, error) {
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
	beside, _ := os.ReadDir(filepath.Dir(filepath.Clean(datadir))) // a seed only saves time
	for _, e := range beside {
		if strings.HasPrefix(e.Name(), filepath.Base(datadir)+".holdstill-") {
			out = append(out, wire.Seed{Real: real, Dir: filepath.Join(filepath.Dir(filepath.Clean(datadir)), e.Name())})
		}
	}
	if inPlace {
		out = append(out, wire.Seed{Real: real, Dir: filepath.Clean(datadir) + ".before-" + run})
	}
	return out
}
