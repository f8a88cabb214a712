package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/retain"
)

// prunedLogs are archived binary logs that no point needs.
type prunedLogs struct {
	Instance   string `json:"instance"`
	Host       string `json:"host"`
	Repository bool   `json:"repository"` // they are in the repository, not in the archive of this machine
	Logs       int    `json:"logs"`
	Bytes      int64  `json:"bytes"`
	NeededBy   string `json:"needed_by"` // the point that the first log which stays is for
}

func (p prunedLogs) String() string {
	where := ""
	if p.Repository {
		where = " in the repository"
	}
	return fmt.Sprintf("binary logs of %s%s: %d files, %s, are older than what point %s needs", p.Instance, where, p.Logs, humanize.IBytes(uint64(p.Bytes)), p.NeededBy)
}

func (p *prunedLogs) count(l archive.Log) {
	p.Logs++
	p.Bytes += l.Size
}

// unneeded are the logs of a machine's instance from before the first one that a point which stays is gone on from.
type unneeded struct {
	local  []offsite.Link
	stored []offsite.Stored
	by     string // the point
}

// findUnneeded looks at what this machine's archive and the repository have as at one sequence; nil: all is needed. gone are the points that do not stay.
func (a *app) findUnneeded(ctx context.Context, host, instance string, gone []string) (*unneeded, error) {
	i, err := a.instance(ctx, []string{instance})
	if errors.Is(err, errNoInstance) {
		i, err = config.Default(instance), nil
	}
	if err != nil {
		return nil, err
	}
	stored, err := a.logsElsewhere().stored(ctx, host, instance)
	if err != nil {
		return nil, err
	}
	var local [][]offsite.Link
	if host == hostname.Name() {
		if local, err = a.localLinks(i); err != nil {
			return nil, err
		}
	}
	chain := offsite.Chain(append(offsite.Archives(stored), local...)...)
	if len(chain) == 0 {
		return nil, nil
	}
	logs := a.ways(chain, instance, host)
	points, err := a.needing(ctx, host, instance, gone, &logs)
	if err != nil {
		return nil, err
	}
	first, by, err := pitr.Needed(ctx, points, logs)
	if err != nil || first == 0 {
		return nil, err
	}
	ids, err := a.archiveIDs(i)
	if err != nil {
		return nil, err
	}
	out := &unneeded{by: by.ID}
	before := offsite.Before(chain, first)
	for _, l := range slices.Concat(local...) {
		if before(l.State) && l.Closed {
			out.local = append(out.local, l)
		}
	}
	for _, s := range stored {
		if before(s.State) && (s.Closed || !slices.Contains(ids, s.Archive)) { // an open one of a lost archive grows no more
			out.stored = append(out.stored, s)
		}
	}
	return out, nil
}

// archiveIDs are those of the archives that may still grow.
func (a *app) archiveIDs(i *config.Instance) ([]string, error) {
	kept, fills, err := a.archives(i)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, one := range append(fills, kept) {
		id, err := one.ID()
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// needing are the points that may be gone on from with the logs of a machine's instance: its own, and those of others from which a way leads there.
// Another machine's instance of the same name may be another server altogether.
func (a *app) needing(ctx context.Context, host, instance string, gone []string, logs *pitr.Logs) ([]*catalog.Point, error) {
	points, err := a.catalogue().List("")
	if err != nil {
		return nil, err
	}
	points = slices.DeleteFunc(points, func(p *catalog.Point) bool {
		return p.Status == catalog.Expired || p.Server.Product == database.Scripts || slices.Contains(gone, p.ID)
	})
	own := func(p *catalog.Point) bool { return p.Host == host && p.Instance == instance }
	for _, p := range points {
		if own(p) {
			logs.MariaDB = p.Server.Product == database.MariaDB
		}
	}
	var out []*catalog.Point
	for _, p := range points {
		if !own(p) {
			if logs.MariaDB != (p.Server.Product == database.MariaDB) {
				continue
			}
			if r, err := pitr.Reachable(ctx, p, *logs); err != nil || r.ToPosition == "" {
				continue
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// pruneLogs removes what is not needed: here first, so that no shipper sends it again.
func (a *app) pruneLogs(ctx context.Context, host, instance string, gone []string, dryRun bool) ([]prunedLogs, error) {
	u, err := a.findUnneeded(ctx, host, instance, gone)
	if err != nil || u == nil {
		return nil, err
	}
	here := prunedLogs{Instance: instance, Host: host, NeededBy: u.by}
	there := prunedLogs{Instance: instance, Host: host, NeededBy: u.by, Repository: true}
	for _, l := range u.local {
		if !dryRun {
			if err := removeLog(l); err != nil {
				return nil, err
			}
		}
		here.count(l.Log)
	}
	for _, s := range u.stored {
		if !dryRun {
			store, err := a.logsElsewhere().stock.open(ctx)
			if err != nil {
				return nil, err
			}
			if err := store.Remove(ctx, s.In); err != nil {
				return nil, err
			}
		}
		there.count(s.Log)
	}
	return slices.DeleteFunc([]prunedLogs{here, there}, func(p prunedLogs) bool { return p.Logs == 0 }), nil
}

// removeLog removes a log that is here, of whichever archive it is.
func removeLog(l offsite.Link) error {
	of, err := archive.Open(filepath.Dir(l.Path))
	if err == nil {
		err = of.Remove(l.Log)
	}
	return err
}

// pruneAllLogs does so for all instances whose points are pruned. A verdict against a point that was not carried out counts as carried out.
func (a *app) pruneAllLogs(ctx context.Context, f pruneFlags, verdicts []retain.Verdict) ([]prunedLogs, error) {
	host := f.host
	if host == "" {
		host = hostname.Name()
	}
	points, err := a.catalogue().List(f.instance)
	if err != nil {
		return nil, err
	}
	var names, gone []string
	for _, p := range points {
		if p.Host == host && !slices.Contains(names, p.Instance) {
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
		some, err := a.pruneLogs(ctx, host, name, gone, f.dryRun)
		if err != nil {
			return out, fmt.Errorf("no archived binary log of %s is removed: %w", name, err)
		}
		out = append(out, some...)
	}
	return out, nil
}
