// Package catalog keeps the restore points. The entry of a point is the commit point of its run: before it everything is
// undone, after it everything is kept.
//
// # Format
//
// One file a point, STATE/points/ID.json, mode 0600, the JSON of Point with the keys of the command line. It is written beside
// its name, synced, renamed, and the directory synced: a reader sees a whole point or none.
//
// Points are ordered by their sequence, not by taken_at: a clock that is set back an hour must not make a point of before that
// hour the latest one.
package catalog

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/fault"
)

// ErrNotFound means that no point has the name asked for.
var ErrNotFound = errors.New("not found")

// ErrAmbiguous means that a prefix names more than one point.
var ErrAmbiguous = errors.New("ambiguous")

// Store is the catalogue on disk.
type Store struct{ dir string }

// Open opens the catalogue below dir, which need not exist yet.
func Open(dir string) *Store { return &Store{dir: dir} }

func (s *Store) file(id string) string { return filepath.Join(s.dir, id+".json") }

// Has reports whether the point is recorded.
func (s *Store) Has(id string) bool {
	_, err := os.Stat(s.file(id))
	return err == nil
}

// Settle makes durable what is there: a process that was killed may have given a point its name, or taken it away, and not have synced
// that. Whoever acts on what Has says asks for it first.
func (s *Store) Settle() error {
	if err := durable.SyncDir(s.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot sync the catalogue: %w", err)
	}
	return nil
}

// Record enters a new point, behind all that are known; a point that cannot be read counts for nothing. Two instances may record
// at one moment and get the same number: then the clock decides between them, as nobody asks which was first.
func (s *Store) Record(p *Point) error {
	points, _ := s.List("") // what it cannot read is told by points list, and is no reason to lose a point
	p.Sequence = 1
	if len(points) > 0 {
		p.Sequence = points[len(points)-1].Sequence + 1
	}
	return s.Put(p)
}

// Put writes the entry of a point, for the first time or anew.
func (s *Store) Put(p *Point) error {
	if err := durable.MakeDir(s.dir); err != nil {
		return fmt.Errorf("cannot record the point %s: %w", p.ID, err)
	}
	content, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot record the point %s: %w", p.ID, err)
	}
	if err := fault.At("record.write"); err != nil {
		return err
	}
	if err := renameio.WriteFile(s.file(p.ID), append(content, '\n'), 0o600, renameio.IgnoreUmask(), renameio.WithTempDir(s.dir)); err != nil {
		return fmt.Errorf("cannot record the point %s: %w", p.ID, err)
	}
	if err := durable.SyncDir(s.dir); err != nil {
		return fmt.Errorf("cannot record the point %s: %w", p.ID, err)
	}
	return fault.At("record.written")
}

// Forget removes the entry of a point. What the point refers to must be gone before.
func (s *Store) Forget(id string) error {
	if err := os.Remove(s.file(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot forget the point %s: %w", id, err)
	}
	return durable.SyncDir(s.dir)
}

// List returns the points, oldest first; instance "" means all. A file that cannot be read is an error that names it,
// beside the points that can.
func (s *Store) List(instance string) ([]*Point, error) {
	names, err := filepath.Glob(filepath.Join(s.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var points []*Point
	var faults []error
	for _, name := range names {
		p, err := read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if instance == "" || p.Instance == instance {
			points = append(points, p)
		}
	}
	slices.SortFunc(points, ByAge)
	return points, errors.Join(faults...)
}

// ByAge orders points, oldest first: the order in which they were recorded, whatever the clock said.
func ByAge(a, b *Point) int {
	return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), a.TakenAt.Compare(b.TakenAt), strings.Compare(a.ID, b.ID))
}

func read(name string) (*Point, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	p := &Point{}
	if err := json.Unmarshal(content, p); err != nil {
		return nil, fmt.Errorf("cannot read the point in %s: %w", name, err)
	}
	return p, nil
}

// Get reads the point with an id.
func (s *Store) Get(id string) (*Point, error) {
	p, err := read(s.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no restore point %q: %w", id, ErrNotFound)
	}
	return p, err
}

// Find resolves what a person typed: an id, a unique prefix of one, or latest, latest~1, ... (the newest point, the one before,
// among the usable ones of the instance; instance "" means of all).
func (s *Store) Find(name, instance string) (*Point, error) {
	points, err := s.List("")
	if len(points) == 0 && err != nil {
		return nil, err
	}
	if back, ok := latest(name); ok {
		return pick(points, instance, name, back)
	}
	var hits []*Point
	for _, p := range points {
		if p.ID == name {
			return p, nil
		}
		if name != "" && strings.HasPrefix(p.ID, name) {
			hits = append(hits, p)
		}
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		return nil, fmt.Errorf("no restore point %q: %w", name, ErrNotFound)
	}
	return nil, fmt.Errorf("%q begins the ids of %d restore points: %w", name, len(hits), ErrAmbiguous)
}

// Relative tells a name that is counted from the newest point (latest, latest~1), of whichever instance is meant.
func Relative(name string) bool {
	_, ok := latest(name)
	return ok
}

func latest(name string) (int, bool) {
	rest, ok := strings.CutPrefix(name, "latest")
	if !ok {
		return 0, false
	}
	if rest == "" {
		return 0, true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(rest, "~"))
	return n, err == nil && strings.HasPrefix(rest, "~") && n >= 0
}

func pick(points []*Point, instance, name string, back int) (*Point, error) {
	for _, p := range slices.Backward(points) {
		if p.Status == Expired || instance != "" && p.Instance != instance {
			continue
		}
		if back == 0 {
			return p, nil
		}
		back--
	}
	return nil, fmt.Errorf("no restore point %q: %w", name, ErrNotFound)
}
