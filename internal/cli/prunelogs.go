package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/retain"
)

// prunedLogs are archived binary logs that no point needs.
type prunedLogs struct {
	Instance string `json:"instance"`
	Logs     int    `json:"logs"`
	Bytes    int64  `json:"bytes"`
	NeededBy string `json:"needed_by"` // the point that the first log which stays is for
}

func (p prunedLogs) String() string {
	return fmt.Sprintf("binary logs of %s: %d files, %s, are older than what point %s needs", p.Instance, p.Logs, humanize.IBytes(uint64(p.Bytes)), p.NeededBy)
}

// pruneLogs removes the archived logs of an instance from before the first that a point which stays is gone on from; nil: there are none. gone are
// the points that do not stay.
func (a *app) pruneLogs(ctx context.Context, instance string, gone []string, dryRun bool) (*prunedLogs, error) {
	i, err := a.instance(ctx, []string{instance})
	if errors.Is(err, errNoInstance) {
		i, err = config.Default(instance), nil
	}
	if err != nil {
		return nil, err
	}
	logs, err := a.logsOf(i, "", "")
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	points, err := a.catalogue().List(instance)
	if err != nil {
		return nil, err
	}
	points = slices.DeleteFunc(points, func(p *catalog.Point) bool {
		return p.Status == catalog.Expired || p.Server.Product == database.Scripts || slices.Contains(gone, p.ID)
	})
	for _, p := range points {
		logs.MariaDB = p.Server.Product == database.MariaDB
	}
	first, by, err := pitr.Needed(ctx, points, logs)
	if err != nil || first == 0 {
		return nil, err
	}
	out := &prunedLogs{Instance: instance, NeededBy: by.ID}
	kept, err := archive.Open(a.dirs.BinlogArchive(i))
	if err != nil {
		return nil, err
	}
	all, err := kept.Logs()
	if err != nil {
		return nil, err
	}
	for n, l := range all[:first] {
		if kept.Path(l) != logs.All[n].Path {
			return nil, errors.New("the archive has changed meanwhile")
		}
		out.Logs++
		out.Bytes += l.Size
		if dryRun {
			continue
		}
		if err := kept.Remove(l); err != nil {
			return out, err
		}
	}
	return out, nil
}

// pruneAllLogs does so for all instances whose points are pruned. A verdict against a point that was not carried out counts as carried out.
func (a *app) pruneAllLogs(ctx context.Context, f pruneFlags, verdicts []retain.Verdict) ([]prunedLogs, error) {
	if f.host != "" && f.host != hostname.Name() {
		return nil, nil // its archive is there
	}
	points, err := a.catalogue().List(f.instance)
	if err != nil {
		return nil, err
	}
	var names, gone []string
	for _, p := range points {
		if p.Host == hostname.Name() && !slices.Contains(names, p.Instance) {
			names = append(names, p.Instance)
		}
	}
	for _, v := range verdicts {
		if !v.Keep {
			gone = append(gone, v.Point.ID)
		}
	}
	var out []prunedLogs
	for _, name := range names {
		one, err := a.pruneLogs(ctx, name, gone, f.dryRun)
		if err != nil {
			return out, fmt.Errorf("no archived binary log of %s is removed: %w", name, err)
		}
		if one != nil {
			out = append(out, *one)
		}
	}
	return out, nil
}
