package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
)

// way finds the way from a point to the moment; nil if none is named.
func (a *app) way(ctx context.Context, f *untilFlags, p *catalog.Point) (*pitr.Way, error) {
	if !f.wanted() {
		return nil, nil
	}
	target, err := f.target()
	if err != nil {
		return nil, err
	}
	logs, err := a.logsFor(ctx, f.logs, p)
	if err != nil {
		return nil, err
	}
	a.log.Info(fmt.Sprintf("looking for the way from point %s to %s in %s", p.ID, target, logs.From), "stage", "way")
	way, err := pitr.Find(ctx, p, logs, target)
	return way, unreachable(err)
}

// unreachable gives the refusal of a moment its exit code.
func unreachable(err error) error {
	var no *pitr.Refusal
	switch {
	case errors.As(err, &no) && no.Missing:
		return fmt.Errorf("%w: %w", err, catalog.ErrNotFound)
	case errors.As(err, &no):
		return usageError{err}
	}
	return err
}

// nearest is the newest point of an instance from which there is a way to the moment. If there is none, the newest point's reason is told.
func (a *app) nearest(ctx context.Context, f *untilFlags, instance string) (*catalog.Point, *pitr.Way, error) {
	if instance == "" {
		i, err := a.instance(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		instance = i.Name
	}
	points, err := a.catalogue().List(instance)
	if err != nil {
		a.log.Warn(err.Error())
	}
	var first error
	for _, p := range slices.Backward(points) {
		if p.Status == catalog.Expired || p.Server.Product == database.Scripts {
			continue
		}
		way, err := a.way(ctx, f, p)
		var no *pitr.Refusal
		if err == nil || !errors.As(err, &no) {
			return p, way, err
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = fmt.Errorf("%s has no restore point: %w", instance, catalog.ErrNotFound)
	}
	return nil, nil, first
}

// logsFor are the logs that can follow on a point: those of this machine's archive; if these do not lead on from the point to their own end, also
// those that the repository has of the machine that the point is of.
func (a *app) logsFor(ctx context.Context, where string, p *catalog.Point) (pitr.Logs, error) {
	return a.logsVia(ctx, where, p, a.logsElsewhere().stored)
}

// logsVia is logsFor with a way to ask the repository.
func (a *app) logsVia(ctx context.Context, where string, p *catalog.Point, ask func(context.Context, string, string) ([]offsite.Stored, error)) (pitr.Logs, error) {
	i, err := a.instance(ctx, []string{p.Instance})
	if errors.Is(err, errNoInstance) {
		i, err = config.Default(p.Instance), nil // of another host, or no longer configured
	}
	if err != nil {
		return pitr.Logs{}, err
	}
	logs, err := a.logsOf(i, where, pitr.Identity(p.Server.ServerUUID, p.Server.ServerID))
	logs.MariaDB = p.Server.Product == database.MariaDB
	if where != "" || err != nil && !errors.Is(err, catalog.ErrNotFound) || err == nil && p.Host == hostname.Name() && leadsOn(ctx, p, logs) {
		return logs, err
	}
	chain, asked := a.withStored(ctx, i, p.Host, ask)
	switch {
	case asked != nil && err != nil:
		return logs, asked
	case asked != nil:
		a.log.Warn("the repository cannot be asked for binary logs: " + asked.Error())
	case chain != nil:
		chain.MariaDB, chain.Until = logs.MariaDB, later(chain.Until, logs.Until, p.Host == hostname.Name())
		return *chain, nil
	}
	return logs, err
}

// leadsOn tells whether a way leads from the point to the end of the logs.
func leadsOn(ctx context.Context, p *catalog.Point, logs pitr.Logs) bool {
	r, err := pitr.Reachable(ctx, p, logs)
	return err == nil && r.Then == ""
}

// later is until when a sequence is complete that has this machine's own logs, too.
func later(stored, local time.Time, own bool) time.Time {
	if own && local.After(stored) {
		return local
	}
	return stored
}

// withStored are the logs that the repository has of a machine's instance, with those of this machine's archive if it is this one; nil: it has none.
func (a *app) withStored(ctx context.Context, i *config.Instance, host string, ask func(context.Context, string, string) ([]offsite.Stored, error)) (*pitr.Logs, error) {
	stored, err := ask(ctx, host, i.Name)
	if err != nil || len(stored) == 0 {
		return nil, err
	}
	var local [][]offsite.Link
	if host == hostname.Name() {
		if local, err = a.localLinks(i); err != nil {
			return nil, err
		}
	}
	out := a.ways(offsite.Chain(append(offsite.Archives(stored), local...)...), i.Name, host)
	return &out, nil
}

// logsOf are the logs of an instance's archive on this machine, or, of a server, those of a directory or an index file.
func (a *app) logsOf(i *config.Instance, where, server string) (pitr.Logs, error) {
	if where != "" {
		return pitr.Directory(where, server)
	}
	kept, err := archive.Open(a.dirs.BinlogArchive(i))
	if err != nil {
		return pitr.Logs{}, err
	}
	until := kept.Until() // first: what is read later has at least that
	local, err := a.localLinks(i)
	if err != nil {
		return pitr.Logs{}, err
	}
	links := offsite.Chain(local...)
	out := a.ways(links, i.Name, hostname.Name())
	if len(links) == 0 {
		return out, noLogs(i.Name)
	}
	if !links[len(links)-1].Short {
		out.Until = until
	}
	return out, nil
}

// reach tells which moments can be had from a point with the archive; nil if there is none.
func (a *app) reach(ctx context.Context, p *catalog.Point) *pitr.Reach {
	logs, err := a.logsVia(ctx, "", p, func(ctx context.Context, host, instance string) ([]offsite.Stored, error) {
		return a.more(ctx, host, instance), nil // what is only shown asks nobody for a password, and waits for nothing
	})
	if err == nil {
		var r *pitr.Reach
		if r, err = pitr.Reachable(ctx, p, logs); err == nil {
			return r
		}
	}
	if !errors.Is(err, catalog.ErrNotFound) {
		a.log.Warn("the archive of binary logs does not tell what is recoverable: " + err.Error())
	}
	return nil
}

// recoverable is a reach for people.
func recoverable(r *pitr.Reach) string {
	text := fmt.Sprintf("from %s to %s (%s)", r.From.UTC().Format(time.RFC3339), r.To.UTC().Format(time.RFC3339), r.ToPosition)
	if r.ToPosition == "" {
		text = "only this moment"
	}
	if r.Then != "" {
		text += "; not beyond: " + r.Then
	}
	return text
}

// printMoment tells of a restore that went on from its point.
func (a *app) printMoment(title string, r *restore.Result, m *pitr.Moment) error {
	if a.json {
		return a.printJSON(struct {
			*restore.Result
			Moment *pitr.Moment `json:"moment"`
		}{r, m})
	}
	rows := [][2]string{{"moment", m.Wanted}, {"replayed", "nothing: it is the point's own moment"}}
	if m.Last != nil {
		rows[1][1] = fmt.Sprintf("%d transactions, %s, by %d workers (%s), in %.0f ms", m.Applied, humanize.IBytes(uint64(m.Bytes)), m.Workers, m.Mode, m.MS)
		rows = append(rows, [2]string{"last", m.Last.String()})
	}
	next := "there is none in the logs"
	if m.Next != nil {
		next = m.Next.String()
	}
	rows = append(rows, [2]string{"next", next})
	for _, p := range m.Skipped {
		rows = append(rows, [2]string{"left out", p.String()})
	}
	if len(m.Near) > 1 {
		rows = append(rows, [2]string{"same second", fmt.Sprintf("these %d, and perhaps more:", len(m.Near))})
		for _, p := range m.Near {
			rows = append(rows, [2]string{" ", p.String()})
		}
	}
	return a.printRestored(title, r, rows...)
}
