package take

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/hostname"
)

// point describes what was taken, as it goes into the catalogue.
func (t *taking) point() *catalog.Point {
	f := t.facts
	consistency, reason := t.proven()
	t.window.StallMS = ms(t.heldFor.Released.Sub(t.heldFor.Asked))
	if !t.heldFor.Held.IsZero() {
		t.window.LockMS = ms(t.heldFor.Released.Sub(t.heldFor.Held))
	}
	return &catalog.Point{
		ID: t.Run.ID, Instance: t.Run.Instance, Host: hostname.Name(), TakenAt: t.takenAt.UTC(), Status: catalog.Recorded,
		Consistency: consistency, ConsistencyReason: reason,
		Role: f.Role, Chain: f.Chain, Mode: t.plan.Mode,
		Server: catalog.Server{Product: f.Product, Version: f.Version, ServerID: f.ServerID, ServerUUID: f.ServerUUID,
			Port: f.Port, Address: t.Address},
		Position: t.position, Sources: orEmpty(t.sources),
		Window: t.window, Stages: t.stages,
		Volumes:   volumes(t.plan.Paths),
		Snapshot:  catalog.Snapshot{Provider: t.dataProvider(), Refs: t.refs},
		SizeBytes: size(t.plan.Paths), Dumps: []catalog.Dump{},
		Warnings:   orEmpty(slices.Concat(t.plan.Warnings, t.warnings)),
		PreparedXA: f.Prepared, Paths: t.plan.Paths, Process: f.Process, Scripts: t.told.Scripts,
	}
}

// proven is the consistency that the run can vouch for, not the one it hoped for.
func (t *taking) proven() (catalog.Consistency, string) {
	switch {
	case t.told.Unheld != nil:
		return t.unheld()
	case t.holdLost == nil:
		return t.plan.Consistency, t.plan.ConsistencyReason
	case t.plan.Frozen():
		return catalog.Filesystem, fmt.Sprintf("the file systems were frozen, but %v before the cut was over", t.holdLost)
	}
	return catalog.Crash, fmt.Sprintf("the cut is atomic, but %v before it was over", t.holdLost)
}

func (t *taking) dataProvider() string {
	for _, l := range t.plan.Paths {
		if l.Purpose != database.DataDir {
			continue
		}
		for _, u := range t.plan.Units {
			if u.Key == l.Unit {
				return u.Provider
			}
		}
	}
	return ""
}

func volumes(paths []catalog.Located) []catalog.Volume {
	var out []catalog.Volume
	for _, l := range paths {
		if l.Unit == "" {
			continue
		}
		v := catalog.Volume{Path: l.Place.MountPoint, Device: l.Place.Device, Filesystem: l.Place.FSType}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// size is the space that the server's files take now, in bytes; a file below two of the paths counts once.
func size(paths []catalog.Located) int64 {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	var total int64
	for _, l := range paths {
		// A file that vanishes under the walk is no fault: the server lives.
		_ = filepath.WalkDir(l.Place.Real, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			st, ok := info.Sys().(*syscall.Stat_t)
			if ok && !seen[inode{st.Dev, st.Ino}] {
				seen[inode{st.Dev, st.Ino}] = true
				total += st.Blocks * 512
			}
			return nil
		})
	}
	return total
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
