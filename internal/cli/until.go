package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
)

// untilFlags say to which moment a restore goes on from its point.
type untilFlags struct {
	time, gtids, position string
	before                bool
	skip                  []string
	logs                  string
}

func (f *untilFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.time, "until-time", "", "go on until this time, as 2026-11-22T13:00:05Z or \"2026-11-22 13:00:05\" (local time): what was committed then is applied")
	flags.StringVar(&f.gtids, "until-gtid", "", "go on until these GTIDs are executed")
	flags.StringVar(&f.position, "until-position", "", "FILE:POS of the server's binary log: go on until there")
	flags.BoolVar(&f.before, "before", false, "stop just before what the until flag names")
	flags.StringArrayVar(&f.skip, "skip-gtid", nil, "leave this transaction out (can be given several times)")
	flags.StringVar(&f.logs, "binlogs", "", "take the binary logs from this directory, or as this index file lists them (default: the instance's archive)")
}

// wanted tells whether a moment is named.
func (f *untilFlags) wanted() bool { return f.time+f.gtids+f.position != "" }

func (f *untilFlags) check() error {
	named := 0
	for _, text := range []string{f.time, f.gtids, f.position} {
		if text != "" {
			named++
		}
	}
	switch {
	case named > 1:
		return usagef("name one moment: --until-time, --until-gtid or --until-position")
	case !f.wanted() && f.before:
		return usagef("--before says how far to go: it needs --until-time, --until-gtid or --until-position")
	case !f.wanted() && len(f.skip) > 0:
		return usagef("--skip-gtid leaves a transaction out on the way to a moment: say which (--until-time, --until-gtid or --until-position)")
	case !f.wanted() && f.logs != "":
		return usagef("--binlogs is the way to a moment: say which (--until-time, --until-gtid or --until-position)")
	}
	_, err := f.target()
	return err
}

func (f *untilFlags) target() (pitr.Target, error) {
	t := pitr.Target{GTIDs: f.gtids, Before: f.before, Skip: f.skip}
	var err error
	if f.time != "" {
		if t.Time, err = parseTime(f.time); err != nil {
			return t, err
		}
		if t.Time.After(time.Now()) {
			return t, usagef("--until-time %s is in the future", t.Time.Format(time.RFC3339Nano))
		}
	}
	if f.position == "" {
		return t, nil
	}
	at := strings.LastIndexByte(f.position, ':')
	if at > 0 {
		t.File = filepath.Base(f.position[:at])
		t.Offset, err = strconv.ParseInt(f.position[at+1:], 10, 64)
	}
	if at <= 0 || err != nil || t.Offset < 4 {
		return t, usagef("--until-position %q: write it as FILE:POS, binlog.000012:4711", f.position)
	}
	return t, nil
}

// moments are the ways to write a time, those without a zone in local time.
var moments = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02"}

func parseTime(text string) (time.Time, error) {
	for _, layout := range moments {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("%q is no time: write it as 2026-11-22T13:00:05Z, or as \"2026-11-22 13:00:05\" in local time", text)
}

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
	var no *pitr.Refusal
	switch {
	case errors.As(err, &no) && no.Missing:
		return nil, fmt.Errorf("%w: %w", err, catalog.ErrNotFound)
	case errors.As(err, &no):
		return nil, usageError{err}
	}
	return way, err
}

// logsFor are the logs that can follow on a point.
func (a *app) logsFor(ctx context.Context, where string, p *catalog.Point) (pitr.Logs, error) {
	i, err := a.instance(ctx, []string{p.Instance})
	if errors.Is(err, errNoInstance) {
		i, err = config.Default(p.Instance), nil // of another host, or no longer configured
	}
	if err != nil {
		return pitr.Logs{}, err
	}
	logs, err := a.logsOf(i, where, pitr.Identity(p.Server.ServerUUID, p.Server.ServerID))
	logs.MariaDB = p.Server.Product == database.MariaDB
	return logs, err
}

// logsOf are the logs of an instance's archive, or, of a server, those of a directory or an index file.
func (a *app) logsOf(i *config.Instance, where, server string) (pitr.Logs, error) {
	if where != "" {
		return pitr.Directory(where, server)
	}
	out := pitr.Logs{From: "the archive of " + i.Name}
	kept, err := archive.Open(a.dirs.BinlogArchive(i))
	if err != nil {
		return out, err
	}
	logs, err := kept.Logs()
	if err != nil {
		return out, err
	}
	if len(logs) == 0 {
		return out, withHint{fmt.Errorf("there are no binary logs in the archive of %s: %w", i.Name, catalog.ErrNotFound),
			"name the server's own with --binlogs DIR; holdstill binlog archive keeps them from now on"}
	}
	for _, l := range logs {
		one := pitr.Log{Server: pitr.Identity(l.Server.UUID, l.Server.ID), Name: l.Name, Path: kept.Path(l), Size: l.Size}
		if l.Gap != nil {
			one.Gap = l.Gap.Reason
		}
		if l.Closed {
			one.Index = one.Path + ".find"
		}
		out.All = append(out.All, one)
	}
	return out, nil
}

// printMoment tells of a restore that went on from its point.
func (a *app) printMoment(r *restore.Result, m *pitr.Moment) error {
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
		rows = append(rows, [2]string{"same second", fmt.Sprintf("%d transactions or more, as wanted by their order in the log:", len(m.Near))})
		for _, p := range m.Near {
			rows = append(rows, [2]string{"", p.String()})
		}
	}
	return a.printRestored("Restored point", r, rows...)
}
