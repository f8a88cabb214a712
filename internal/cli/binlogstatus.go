package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/wire"
)

func (a *app) binlogStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status [INSTANCE]",
		Short: "Show how far the archive of binary logs is, what it covers, and its gaps",
		Long: `Status tells whether an archiver runs, how far it is behind the server, and from when to when the archived logs lead, with each gap
between: why it is there, and which transactions are missing where that is known.`,
		Example: "  holdstill binlog status\n  holdstill binlog status shop --json",
		Args:    atMost(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runBinlogStatus(cmd.Context(), args) },
	}
}

// binlogState is what binlog status tells.
type binlogState struct {
	Instance  string             `json:"instance"`
	Directory string             `json:"directory"`
	Running   bool               `json:"running"`
	Server    *archive.Server    `json:"server"`   // whose the last archived log is; null: none is
	Position  *binlogPosition    `json:"position"` // up to which it is archived
	End       *binlogPosition    `json:"end"`      // where the server writes next; null: it cannot be asked
	Address   string             `json:"address,omitempty"`
	LagBytes  *int64             `json:"lag_bytes"`   // null: unknown
	LagSecs   *float64           `json:"lag_seconds"` // null: unknown
	Fault     string             `json:"fault,omitempty"`
	Spool     binlogSpool        `json:"spool"`
	Shipping  *binlogShipping    `json:"shipping"` // null: no repository, or it is not to be shipped
	Coverage  []archive.Interval `json:"coverage"`
	Gaps      []archive.Gap      `json:"gaps"`
}

type binlogPosition struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	GTID   string `json:"gtid,omitempty"`
}

type binlogSpool struct {
	Logs  int   `json:"logs"`
	Bytes int64 `json:"bytes"`
}

func (a *app) runBinlogStatus(ctx context.Context, args []string) error {
	i, _, logs, err := a.archived(ctx, args)
	if err != nil {
		return err
	}
	s := binlogState{Instance: i.Name, Directory: a.dirs.BinlogArchive(i), Coverage: []archive.Interval{}, Gaps: []archive.Gap{}}
	if s.Running, err = a.archiving(i); err != nil {
		return err
	}
	local, err := a.localLinks(i)
	if err != nil {
		return err
	}
	s.add(offsite.Chain(local...))
	if s.Shipping, err = a.shipping(i, logs); err != nil {
		return err
	}
	if err := s.ask(ctx, i, logs); err != nil {
		s.Fault = err.Error()
	}
	if a.json {
		return a.printJSON(s)
	}
	a.printBinlogState(s)
	return nil
}

// archiving tells whether an archiver has the instance.
func (a *app) archiving(i *config.Instance) (bool, error) {
	held, err := lock.Take(a.dirs.BinlogLocks(), i.Name)
	if isBusy(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, held.Close()
}

func (s *binlogState) add(links []offsite.Link) {
	var logs []archive.Log
	for _, l := range links {
		logs = append(logs, l.Log)
		s.Spool.Logs++
		s.Spool.Bytes += l.Size
		if l.Gap != nil {
			s.Gaps = append(s.Gaps, *l.Gap)
		}
	}
	if len(logs) == 0 {
		return
	}
	last := logs[len(logs)-1]
	s.Server, s.Position = &last.Server, &binlogPosition{last.Name, last.Size, last.GTIDAfter}
	s.Coverage = archive.Coverage(logs)
}

// ask completes it with what the server says.
func (s *binlogState) ask(ctx context.Context, i *config.Instance, logs []archive.Log) error {
	sources, err := wire.BinlogSources(i)
	if err != nil {
		return err
	}
	lag, err := archive.Behind(ctx, logs, sources)
	if err != nil {
		return err
	}
	s.Address, s.End = lag.Address, &binlogPosition{File: lag.File, Offset: lag.Offset}
	if lag.Bytes < 0 {
		return fmt.Errorf("the server has the last archived log no more: its logs were purged or reset")
	}
	seconds := lag.Time.Seconds()
	s.LagBytes, s.LagSecs = &lag.Bytes, &seconds
	return nil
}

func (a *app) printBinlogState(s binlogState) {
	out := a.stdout
	running := "no: start holdstill binlog archive " + s.Instance
	if s.Running {
		running = "yes"
	}
	t := newTable(out)
	t.row("Instance", s.Instance)
	t.row("Archiver runs", running)
	if s.Server != nil {
		t.row("Server", fmt.Sprintf("%s %s, server id %d", s.Server.Product, printable(s.Server.Version), s.Server.ID))
		t.row("Archived up to", fmt.Sprintf("%s:%d", printable(s.Position.File), s.Position.Offset))
	}
	if s.End != nil {
		t.row("Server is at", fmt.Sprintf("%s:%d", printable(s.End.File), s.End.Offset))
	}
	if s.LagBytes != nil {
		t.row("Behind", fmt.Sprintf("%s, %s", humanize.IBytes(uint64(*s.LagBytes)), time.Duration(*s.LagSecs*float64(time.Second)).Round(time.Second)))
	}
	if s.Fault != "" {
		t.row("Fault", printable(s.Fault))
	}
	t.row("Spool", fmt.Sprintf("%d logs, %s in %s", s.Spool.Logs, humanize.IBytes(uint64(s.Spool.Bytes)), s.Directory))
	s.Shipping.rows(t)
	t.flush()
	if len(s.Coverage) == 0 {
		return
	}
	fmt.Fprintln(out)
	heading(out, "Coverage (UTC)")
	for _, c := range s.Coverage {
		if g := c.Gap; g != nil {
			fmt.Fprintf(out, "  GAP   %s .. %s  %s\n        %s\n", g.After.Format(toMinute), g.Until.Format(toMinute), printable(g.From+" .. "+g.To), printable(g.Reason))
			if g.GTIDs != "" {
				fmt.Fprintf(out, "        missing: %s\n        looked for on the other servers of binlog.servers, if there are any, while the archiver runs\n", printable(g.GTIDs))
			} else {
				fmt.Fprintln(out, "        no GTIDs tell what is missing: nothing can fill it")
			}
		}
		fmt.Fprintf(out, "        %s .. %s  %s .. %s\n", c.From.Format(toMinute), c.To.Format(toMinute), printable(c.FromPosition), printable(c.ToPosition))
	}
}
