package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/wire"
)

// purgeFlags say what else may go, or must stay.
type purgeFlags struct {
	dryRun  bool
	keepFor time.Duration
	ignore  []string
}

func (a *app) binlogPurge() *cobra.Command {
	f := &purgeFlags{}
	cmd := &cobra.Command{
		Use:   "purge [INSTANCE]",
		Short: "Remove binary logs from the server that are archived and that no replica needs",
		Long: `Purge removes the oldest binary logs of the server (PURGE BINARY LOGS), as far as each of them

  - is archived whole: the archived log begins and ends as the server's does, and every event of it is read and verified again;
  - is whole in the repository, if there is one for it;
  - is executed by every replica: those under binlog.servers in the configuration, and those that are connected and say where they are (report_host),
    are asked themselves. One that cannot be asked keeps every log, and so does one that was connected at an earlier purge and is away now, until
    --ignore-replica says that it does not count;
  - is old enough (--keep-for, or binlog.keep_on_server; a day if neither is said).

It says what goes, what stays, and why. The server itself keeps what it is sending to a replica.`,
		Example: "  holdstill binlog purge --dry-run\n  holdstill binlog purge shop --keep-for 72h\n  holdstill binlog purge --ignore-replica 12 --json",
		Args:    atMost(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runBinlogPurge(cmd, f, args) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.dryRun, "dry-run", false, "only say what would go")
	flags.DurationVar(&f.keepFor, "keep-for", config.KeepOnServer, "logs with anything newer stay")
	flags.StringArrayVar(&f.ignore, "ignore-replica", nil, "HOST:PORT or server id of a replica that need not have read anything (can be given several times)")
	return cmd
}

// purged is what binlog purge tells.
type purged struct {
	Instance string `json:"instance"`
	DryRun   bool   `json:"dry_run"`
	*archive.Purging
	Bytes int64 `json:"bytes"` // that went, or would go
	Count int   `json:"count"` // of logs
}

func (a *app) runBinlogPurge(cmd *cobra.Command, f *purgeFlags, args []string) (err error) {
	ctx := cmd.Context()
	if f.keepFor < 0 {
		return usagef("--keep-for %s: a duration is not negative", f.keepFor)
	}
	i, store, _, err := a.archived(ctx, args)
	if err != nil {
		return err
	}
	if !cmd.Flags().Changed("keep-for") {
		f.keepFor = i.Binlog.Keeps()
	}
	held, err := lock.Take(a.dirs.BinlogLocks(), i.Name+".purge")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	o, err := a.purging(ctx, i, store, f)
	if err != nil {
		return err
	}
	plan, err := archive.PlanPurge(ctx, o)
	if err != nil {
		return err
	}
	if !f.dryRun {
		if err := plan.Purge(ctx, o.Admin); err != nil {
			return err
		}
	}
	return a.printPurged(&purged{Instance: i.Name, DryRun: f.dryRun, Purging: plan})
}

// purging gathers whom to ask.
func (a *app) purging(ctx context.Context, i *config.Instance, store *archive.Archive, f *purgeFlags) (archive.PurgeOptions, error) {
	o := archive.PurgeOptions{Archive: store, Host: hostname.Name(), Instance: i.Name, Ignore: f.ignore, DryRun: f.dryRun, KeepFor: f.keepFor, Log: a.log,
		At: func(host string, port int) (archive.Source, error) { return wire.BinlogReplica(i, host, port) }}
	sources, err := wire.BinlogSources(i)
	if err != nil {
		return o, err
	}
	o.Source, o.Replicas = sources[0], sources[1:]
	if o.Admin, err = wire.BinlogAdmin(i); err != nil {
		return o, err
	}
	c, err := a.written()
	if err != nil {
		return o, err
	}
	_, err = wire.RepositoryOf(c, a.dirs)
	if errors.Is(err, wire.ErrNoRepository) || err == nil && !i.Binlog.Ships() {
		return o, nil
	}
	if err != nil {
		return o, err
	}
	o.Shipped, err = a.shippedLogs(ctx, i)
	return o, err
}

// shippedLogs asks the repository which logs it has.
func (a *app) shippedLogs(ctx context.Context, i *config.Instance) (func(archive.Log) bool, error) {
	s := &stock{app: a}
	defer s.close()
	repo, err := s.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("whether the logs are in the repository is not known: %w", err)
	}
	return offsite.Whole(ctx, repo, hostname.Name(), i.Name)
}

func (a *app) printPurged(p *purged) error {
	for _, v := range p.Logs {
		if v.Purged || p.DryRun && v.Purge {
			p.Count++
			p.Bytes += v.Size
		}
	}
	if a.json {
		return a.printJSON(p)
	}
	done := "purged"
	if p.DryRun {
		done = "would be purged"
	}
	fmt.Fprintf(a.stdout, "%d binary logs of %s %s, %s\n", p.Count, p.Instance, done, humanize.IBytes(uint64(p.Bytes)))
	t := newTable(a.stdout)
	for _, r := range p.Replicas {
		state := r.State
		if r.Ignored {
			state += ", ignored"
		}
		t.row("replica", printable(r.Name), "", printable(state))
	}
	for _, v := range p.Logs {
		verdict := "stays"
		if v.Purged || p.DryRun && v.Purge {
			verdict = done
		}
		t.row(printable(v.Name), verdict, humanize.IBytes(uint64(v.Size)), printable(strings.Join(v.Why, "; ")))
	}
	t.flush()
	return nil
}
