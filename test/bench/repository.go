package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/mount"
)

// repositoryName is the contest of those that keep points off the machine.
const repositoryName = "repository"

// The three laps that every archiver runs.
const (
	firstShip = "first ship"
	nextShip  = "next ship"
	placing   = "restore to a directory"
)

// cut is one read-only snapshot, the same for everybody.
type cut struct {
	point string // holdstill's name for it
	path  string
}

// archiver is one way to keep points in a store of its own.
type archiver struct {
	name  string
	dir   string                                              // the store
	fresh func(context.Context) error                         // makes an empty one; not timed
	ship  func(context.Context, cut) (spent, error)           // sends a snapshot
	fetch func(ctx context.Context, to string) (spent, error) // brings the newest back to a directory that is absent
	again bool                                                // a second ship knows the first
}

// shipping is the contest: an empty store, the first snapshot, the next one, and the way back, each with nothing in the page cache.
func shipping(ctx context.Context, g *ground, r *report) error {
	if err := g.findPeers(); err != nil {
		return err
	}
	d, err := g.dataset(ctx)
	if err != nil {
		return err
	}
	r.data(d)
	archivers := []archiver{g.ourStore(), g.restic(), g.kopia(), g.tar()}
	laps := map[string][]lap{}
	for range g.shipRuns {
		for _, a := range archivers {
			if err := g.laps(ctx, a, d, laps); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
	}
	r.archivers(d, laps)
	return nil
}

// laps runs one archiver from an empty store to the restored files, and takes away what it made.
func (g *ground) laps(ctx context.Context, a archiver, d *dataset, laps map[string][]lap) error {
	to := filepath.Join(g.lab.Dir(), "placed")
	defer func() { _, _ = os.RemoveAll(to), os.RemoveAll(a.dir) }()
	if err := a.fresh(ctx); err != nil {
		return fmt.Errorf("cannot make an empty store: %w", err)
	}
	note := func(title string, run func() (spent, error)) error {
		return g.lap(ctx, a, title, laps, func() (spent, error) {
			s, err := run()
			if err != nil {
				return s, err
			}
			return s.synced(a.dir) // the lab has one disk: the target lies there too
		})
	}
	if err := note(firstShip, func() (spent, error) { return a.ship(ctx, d.cuts[0]) }); err != nil {
		return err
	}
	if a.again {
		if err := note(nextShip, func() (spent, error) { return a.ship(ctx, d.cuts[1]) }); err != nil {
			return err
		}
	}
	if err := note(placing, func() (spent, error) { return a.fetch(ctx, to) }); err != nil {
		return err
	}
	return d.complete(to)
}

// synced adds the time until all that was written is on the disk, for those who do not wait for it themselves.
func (s spent) synced(dir string) (spent, error) {
	begun := time.Now()
	err := mount.SyncFS(dir)
	took := time.Since(begun).Seconds()
	s.seconds += took
	if s.whole > 0 {
		s.whole += took
	}
	return s, err
}

// lap is what one run of one archiver took.
type lap struct {
	name string
	spent
	stored float64 // MB that the store has grown by
}

func (g *ground) lap(ctx context.Context, a archiver, title string, laps map[string][]lap, run func() (spent, error)) error {
	before, err := taken(a.dir)
	if err != nil {
		return err
	}
	if err := forget(ctx); err != nil {
		return err
	}
	s, err := run()
	if err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	after, err := taken(a.dir)
	l := lap{name: a.name, spent: s, stored: float64(after-before) / 1e6}
	laps[title] = append(laps[title], l)
	l.print(title)
	return err
}

// forget empties the page cache, so that everybody reads from the disk.
func forget(ctx context.Context) error {
	if err := command(ctx, "sync"); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0)
}

// taken is what the files of a directory hold.
func taken(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}

// middle is the run with the median time of each archiver, in their order.
func middle(laps []lap) []lap {
	var names []string
	for _, l := range laps {
		if !slices.Contains(names, l.name) {
			names = append(names, l.name)
		}
	}
	var out []lap
	for _, name := range names {
		mine := slices.DeleteFunc(slices.Clone(laps), func(l lap) bool { return l.name != name })
		slices.SortFunc(mine, func(a, b lap) int { return int(1e6 * (a.seconds - b.seconds)) })
		out = append(out, mine[len(mine)/2])
	}
	return out
}

// dataset is the server's data twice, and what changed between.
type dataset struct {
	server *lab.Server
	disk   *lab.Volume
	cuts   [2]cut
	sizes  [2]int64 // of the files
	difference
}

// dataset makes a server with data, snapshots it, changes it, and snapshots it again. The server is stopped then: the archivers have the
// machine for themselves.
func (g *ground) dataset(ctx context.Context) (*dataset, error) {
	disk, err := g.lab.Btrfs(ctx, "disk-repository", int64(g.shipMB)*2*mib+8*gib)
	if err != nil {
		return nil, err
	}
	s, err := g.server(ctx, "to-ship", disk, 0)
	if err != nil {
		return nil, err
	}
	d := &dataset{server: s, disk: disk}
	fmt.Printf("\nrepository: a server of %d MB, of which %g %% of the pages change\n", g.shipMB, changedPercent)
	if err := digits(ctx, s, g.shipMB); err != nil {
		return nil, err
	}
	for i := range d.cuts {
		if i == 1 {
			if err := change(ctx, s, g.shipMB); err != nil {
				return nil, err
			}
		}
		if err := checkpoint(ctx, s); err != nil {
			return nil, err
		}
		if d.cuts[i], err = g.cut(ctx, d); err != nil {
			return nil, err
		}
		if d.sizes[i], err = taken(d.cuts[i].path); err != nil {
			return nil, err
		}
	}
	if d.difference, err = compare(d.cuts[0].path, d.cuts[1].path); err != nil {
		return nil, err
	}
	return d, s.Stop(ctx)
}

// cut is a point of holdstill's, whose snapshot the others read too.
func (g *ground) cut(ctx context.Context, d *dataset) (cut, error) {
	point, err := g.point(ctx, d.server)
	if err != nil {
		return cut{}, err
	}
	found, err := filepath.Glob(filepath.Join(d.disk.Dir, ".holdstill", point+"*"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("the snapshot of the point %s is not on %s", point, d.disk.Dir)
	}
	if err != nil {
		return cut{}, err
	}
	return cut{point: point, path: found[0]}, nil
}

// complete looks whether what came back has the size of what was sent; holdstill's boot may have made it larger.
func (d *dataset) complete(dir string) error {
	bytes, err := taken(dir)
	if err == nil && bytes < d.sizes[0]*95/100 {
		err = fmt.Errorf("only %d MB of %d came back to %s", bytes/1e6, d.sizes[0]/1e6, dir)
	}
	return err
}

// findPeers looks for what scripts/fetch-peers.sh brings.
func (g *ground) findPeers() error {
	for _, program := range []string{"restic", "zstd", "tar", "unshare", g.kopiaProgram()} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("a peer is missing (scripts/fetch-peers.sh): %w", err)
		}
	}
	return nil
}
