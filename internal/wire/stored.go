package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/browse"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// StoredProvider is the name of the cuts that a repository holds.
const StoredProvider = "repository"

// Stored is a point as the repository holds it: the same, with cuts that OpenStored opens.
func Stored(p *catalog.Point) *catalog.Point {
	out := *p
	out.Snapshot = catalog.Snapshot{Provider: StoredProvider}
	for _, l := range p.Paths {
		if l.Unit == "" { // no cut holds it
			continue
		}
		if !slices.ContainsFunc(out.Snapshot.Refs, func(r snapshot.Ref) bool { return r.Unit == l.Unit }) {
			out.Snapshot.Refs = append(out.Snapshot.Refs, snapshot.Ref{Provider: StoredProvider, Name: p.ID, Run: p.ID, Unit: l.Unit})
		}
	}
	return &out
}

// FindStored finds a point in a repository; ErrNotThere only if all that it holds could be read.
func FindStored(ctx context.Context, store repository.Store, id string) (repository.Stored, error) {
	all, err := store.Points(ctx)
	for _, s := range all {
		if s.Point == id {
			return s, nil
		}
	}
	if err != nil {
		return repository.Stored{}, err
	}
	return repository.Stored{}, fmt.Errorf("%s: %w", id, repository.ErrNotThere)
}

// StoredTree is a stored point as the tree of a cut: the names and attributes come through a private mount, the files' contents, where they
// are wanted whole, from the repository itself.
type StoredTree struct {
	view  *browse.View
	tree  repository.Tree
	seeds []Seed
	log   *slog.Logger

	mu    sync.Mutex
	nodes map[string][]*repository.Node // entries of directories, by path
}

// Seed is a directory on this machine that may hold what is to be fetched.
type Seed struct {
	Real string // the directory of the live server that it once was
	Dir  string
}

// OpenStored opens a stored point as a tree of files under their real paths.
func OpenStored(ctx context.Context, store repository.Store, id string, seeds []Seed, log *slog.Logger) (*StoredTree, error) {
	stored, err := FindStored(ctx, store, id)
	if err != nil {
		return nil, err
	}
	tree, err := store.Open(ctx, stored)
	if err != nil {
		return nil, err
	}
	view, err := browse.Private(ctx, tree, log)
	if err != nil {
		return nil, errors.Join(err, tree.Close(ctx))
	}
	return &StoredTree{view: view, tree: tree, seeds: seeds, log: log, nodes: map[string][]*repository.Node{}}, nil
}

// Path is the mount.
func (t *StoredTree) Path() string { return t.view.Path() }

// Locate is the real path below the mount.
func (t *StoredTree) Locate(real string) (string, error) { return path.Join(t.Path(), real), nil }

// Close unmounts.
func (t *StoredTree) Close() error {
	return errors.Join(t.view.Close(), t.tree.Close(context.Background()))
}

// fetchPatience is how long a repository from which nothing more comes is tried again in the middle of a file.
const fetchPatience = 10 * time.Minute

// Fetch writes a file of the tree, with what a seed holds of it. After a fault of the network it goes on: what is written already is then a
// seed too, so nothing is fetched twice.
func (t *StoredTree) Fetch(ctx context.Context, inside string, target *os.File, progress func(int64)) error {
	real := "/" + strings.Trim(strings.TrimPrefix(inside, t.Path()), "/")
	var first, seed io.ReaderAt
	if f := t.seed(real); f != nil {
		defer f.Close()
		first = f
	}
	seed = first
	meter := &fetchMeter{tell: progress, last: time.Now()}
	pause := time.Second
	for {
		begun := time.Now()
		err := t.fetch(ctx, real, target, seed, meter)
		last := meter.again()
		if err == nil || ctx.Err() != nil || repository.Lasting(err) || errors.Is(err, syscall.EIO) || time.Since(last)+pause > fetchPatience {
			return err
		}
		if last.After(begun) {
			pause = time.Second
		}
		t.log.Warn("fetching failed, and is tried again: "+err.Error(), "pause", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Minute)
		seed = written{target, first}
	}
}

// fetchMeter adds up what all attempts at a file did, and tells nothing twice.
type fetchMeter struct {
	tell func(int64)

	mu         sync.Mutex
	done, told int64 // of this attempt, of all
	last       time.Time
}

// add is for what was written, and how much of it was here already.
func (m *fetchMeter) add(done, seeded int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += done
	more := max(0, m.done-m.told)
	m.told += more
	if more > 0 || done > seeded {
		m.last = time.Now()
	}
	m.tell(more)
}

// again begins another attempt, and says when there was the last progress.
func (m *fetchMeter) again() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = 0
	return m.last
}

// written is a file that was written in part, with what it lacks from the seed that it was written with.
type written struct {
	file, seed io.ReaderAt
}

func (w written) ReadAt(p []byte, at int64) (int, error) {
	n, err := w.file.ReadAt(p, at)
	if w.seed == nil || n == len(p) && slices.ContainsFunc(p, func(b byte) bool { return b != 0 }) {
		return n, err
	}
	if seeded, fault := w.seed.ReadAt(p, at); seeded == len(p) {
		return seeded, fault
	}
	return w.file.ReadAt(p, at)
}

func (t *StoredTree) fetch(ctx context.Context, real string, target *os.File, seed io.ReaderAt, meter *fetchMeter) error {
	n, err := t.find(ctx, real)
	if err != nil {
		return fmt.Errorf("cannot fetch %s: %w", real, err)
	}
	return t.tree.Fetch(ctx, n, target, repository.Fetching{Seed: seed, Progress: meter.add})
}

// seed opens what may be an older version of a file.
func (t *StoredTree) seed(real string) *os.File {
	for _, s := range t.seeds {
		rel, in := mount.Below(s.Real, real)
		if !in {
			continue
		}
		f, err := os.OpenFile(path.Join(s.Dir, rel), os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer must not hold us up
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return f
		}
		_ = f.Close()
	}
	return nil
}

// find looks a path up in the repository, without the mount.
func (t *StoredTree) find(ctx context.Context, real string) (*repository.Node, error) {
	at, err := t.tree.Root(ctx)
	if err != nil {
		return nil, err
	}
	where := "/"
	for name := range strings.SplitSeq(strings.Trim(real, "/"), "/") {
		entries, err := t.entries(ctx, where, at)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(entries, func(n *repository.Node) bool { return n.Name == name })
		if i < 0 {
			return nil, fs.ErrNotExist
		}
		at, where = entries[i], path.Join(where, name)
	}
	return at, nil
}

func (t *StoredTree) entries(ctx context.Context, where string, dir *repository.Node) ([]*repository.Node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.nodes[where]; ok {
		return known, nil
	}
	entries, err := t.tree.Entries(ctx, dir)
	if err == nil {
		t.nodes[where] = entries
	}
	return entries, err
}

// pointID is what an id may be that names a file.
var pointID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{0,62}$`)

// Described is the catalogue's entry of a stored point, as a host sees it that does not know the point: without snapshots, but for those of
// this machine that the point itself made; whether they are still there is not looked at.
func Described(s repository.Stored) (*catalog.Point, error) {
	p := &catalog.Point{}
	if !pointID.MatchString(s.Point) {
		return nil, fmt.Errorf("the repository holds a point that is left out, since no point can have the id %q", s.Point)
	}
	if err := json.Unmarshal(s.Entry, p); err != nil {
		return nil, fmt.Errorf("cannot read the entry of the point %s in the repository: %w", s.Point, err)
	}
	if p.ID != s.Point {
		return nil, fmt.Errorf("the entry of the point %s in the repository is that of %q", s.Point, p.ID)
	}
	if !config.IsInstanceName(p.Instance) {
		return nil, fmt.Errorf("the point %s of the repository is left out, since no instance can have the name %q", s.Point, p.Instance)
	}
	p.Sequence, p.Pinned, p.Status = 0, s.Pinned, catalog.Shipped
	if p.Repository == nil {
		p.Repository = &catalog.Shipment{}
	}
	p.Repository.ID = s.Handle
	foreign := func(r snapshot.Ref) bool { return r.Run != p.ID || !strings.Contains(r.Name, p.ID) }
	if p.Host != hostname.Name() || slices.ContainsFunc(p.Snapshot.Refs, foreign) {
		p.Snapshot.Refs = nil
	}
	p.Snapshot.Refs = append([]snapshot.Ref{}, p.Snapshot.Refs...)
	return p, nil
}

// WithPin is the description of a stored point with its pin put in or taken out, and all else as it is.
func WithPin(s repository.Stored, pinned bool) (repository.Description, error) {
	d := s.Description
	d.Pinned = pinned
	entry := map[string]json.RawMessage{}
	err := json.Unmarshal(s.Entry, &entry)
	if err == nil {
		entry["pinned"] = json.RawMessage(strconv.FormatBool(pinned))
		d.Entry, err = json.Marshal(entry)
	}
	if err != nil {
		return d, fmt.Errorf("cannot read the entry of the point %s in the repository: %w", s.Point, err)
	}
	return d, nil
}
