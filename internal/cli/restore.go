package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/service"
	"github.com/holdstill/holdstill/internal/wire"
)

// copyFlags are what restore and replica have in common.
type copyFlags struct {
	instance string
	disks    []string
	from     string
	seeds    []string
	request  restore.Request
}

// registerSource adds what says which copy of the point is used, and with which server.
func (f *copyFlags) registerSource(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.instance, "instance", "", "of which instance, where POINT is latest (default for tables: that of --into)")
	flags.StringArrayVar(&f.disks, "disk", nil, "[MOUNTPOINT=]WHERE: of a point whose snapshot a host took, the disk, image or mounted directory where it is attached now")
	flags.StringVar(&f.from, "from", "", "local or repository: which copy of the point to use (default: this machine's snapshot if it has one)")
	flags.StringVar(&f.request.Server, "server", "", "the server's program (default: the one that was running)")
	flags.BoolVar(&f.request.Upgrade, "upgrade", false, "accept a server that is newer than the point's, which upgrades the copy")
	flags.DurationVar(&f.request.Timeout, "timeout", time.Hour, "for the first boot, crash recovery included")
}

func (f *copyFlags) register(cmd *cobra.Command) {
	f.registerSource(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.seeds, "seed", nil, "a directory with an older version of the data: what it holds is not fetched from the repository again")
	flags.StringVar(&f.request.Datadir, "datadir", "", "the new data directory, absent or empty")
	flags.StringVar(&f.request.ConfigDir, "config-dir", "", "where my.cnf goes (default: the data directory's name with .conf)")
	flags.IntVar(&f.request.Port, "port", 0, "TCP port of the new server (default: the point's if free, else the next free one)")
}

func (a *app) restore() *cobra.Command {
	f := &restoreFlags{}
	cmd := &cobra.Command{
		Use:   "restore [POINT]",
		Short: "Make a data directory, and a running server, from a restore point, or at any moment after it",
		Long: `Restore puts the files of a point into a new data directory: at once where the file system can clone, else by copying
them; where this machine has no snapshot of the point, they come from the repository. It boots the copy once without network and replication, so that recovery can finish, checks that it stands at the
recorded position, and with --start leaves a server running there. Replication stays off: for a replica, use replica.

With --until-time, --until-gtid or --until-position it goes on from there: it replays the binary logs of the archive, or those that --binlogs
names, until exactly that moment, and says what the last transaction was that it applied and what the next one would have been. The way is looked
for first: a moment that cannot be reached is refused before anything is touched. Without a POINT the newest one is taken that has a way there.

If the replay meets a transaction that cannot be applied, it stops there, and the copy is kept as it is then. --continue DIR goes on with that copy, with
--skip-gtid or after it was mended; it also takes any other copy further that was restored before, and that nobody has written to since.

--in-place puts the point in the place of a stopped instance's own data, which are kept aside until the new server answers.

--table and --database put tables into a running server (--into). Their files come from a scratch server on a copy of the point, and the live
server imports them, or loads a dump where it cannot, in a database of its own; when they are complete and checked, one RENAME TABLE puts
them all in place. The tables that were there are kept, and the result says how to drop them and how to go back. Other tables are not touched.`,
		Example: `  holdstill restore latest --datadir /srv/restored --start
  holdstill restore 20261122-130000 --datadir /srv/check --config-dir /srv/check.conf
  holdstill restore latest --instance shop --in-place
  holdstill restore --datadir /srv/restored --start --until-time "2026-11-22 13:00:05"
  holdstill restore latest --datadir /srv/restored --until-gtid 0-1-4711 --before
  holdstill restore latest --datadir /srv/restored --until-position binlog.000012:4711 --binlogs /var/lib/mysql
  holdstill restore --continue /srv/restored --until-time "2026-11-22 13:05" --start
  holdstill restore latest --table shop.orders --table shop.items --into shop
  holdstill restore --table shop.orders --as shop.orders_before --into shop --until-gtid 0-1-4711 --before
  holdstill restore latest --database shop --as shop_copy --into shop
  holdstill restore latest --from repository --datadir /srv/restored --seed /srv/old-data`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			do, err := f.doing(cmd, args)
			if err != nil {
				return err
			}
			return do(a, cmd.Context())
		},
	}
	f.register(cmd)
	f.until.register(cmd)
	f.tables.register(cmd)
	f.load.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.further, "continue", "", "the data directory of a copy that was restored before: go on with it from where it stands")
	flags.BoolVar(&f.request.Start, "start", false, "leave the server running")
	flags.BoolVar(&f.request.InPlace, "in-place", false, "replace the data of the point's own instance, which must be stopped")
	flags.StringVar(&f.request.BindAddress, "bind-address", "127.0.0.1", "address of the new server")
	flags.BoolVar(&f.request.AcceptPosition, "accept-position", false, "warn, instead of fail, when the copy stands elsewhere than the point says")
	return cmd
}

func (a *app) runRestore(ctx context.Context, f *copyFlags, until *untilFlags, name string) error {
	r := f.request
	if err := until.check(); err != nil {
		return err
	}
	s := &stock{app: a}
	defer s.close()
	var err error
	var way *pitr.Way
	if name == "" {
		r.Point, way, err = a.nearest(ctx, until, f.instance)
	} else {
		r.Point, err = a.find(ctx, s, name, f.instance)
	}
	if err != nil {
		return err
	}
	if err := needsServer(r.Point); err != nil {
		return err
	}
	owner := ""
	if r.InPlace {
		owner = r.Point.Instance
		if r.Datadir == "" {
			r.Datadir = located(r.Point, database.DataDir)
		}
	} else if r.Datadir == "" {
		return usagef("say where: --datadir DIR (or --in-place)")
	}
	if r.Point.Status == catalog.Expired {
		return fmt.Errorf("point %s is being removed: %w", r.Point.ID, catalog.ErrNotFound)
	}
	if way == nil {
		if way, err = a.way(ctx, until, r.Point); err != nil {
			return err
		}
	}
	run, done, err := a.begin(ctx, owner)
	if err != nil {
		return err
	}
	defer done()
	deps, account, err := a.restoring(ctx, s, f, &r.Point, r.Datadir, run.ID, r.InPlace)
	if err != nil {
		return err
	}
	r.Account = account
	moment := &pitr.Moment{}
	if way != nil {
		r.Onward = pitr.Onward(way, deps, moment)
	}
	if r.Onward == nil {
		r.Onward = pitr.Stay(way)
	}
	result, err := restore.Restore(ctx, run, r, deps)
	if err != nil {
		return halted(refused(errors.Join(err, run.Unwind(ctx))), r.Datadir, r.ConfigDir, until)
	}
	if way == nil {
		return a.printRestored("Restored point", result)
	}
	return a.printMoment("Restored point", result, moment)
}

// attached reads the flag --disk.
func attached(p *catalog.Point, flags []string) (map[string]string, error) {
	hosts := wire.ByHost(p)
	out := map[string]string{}
	for _, f := range flags {
		mountpoint, where, named := strings.Cut(f, "=")
		if !named {
			mountpoint, where = "", f
		}
		out[mountpoint] = where
	}
	switch _, one := out[""]; {
	case hosts && len(out) == 0:
		return nil, withHint{usagef("the snapshot of point %s was taken by a host: attach it to this machine, and say where with --disk", p.ID),
			"holdstill points show " + p.ID + " --json tells the file systems (volumes) and what the host said about its snapshot"}
	case !hosts && len(out) > 0:
		return nil, usagef("--disk is for a point whose snapshot a host took; that of %s is here", p.ID)
	case one && len(p.Volumes) > 1:
		return nil, usagef("point %s has %d file systems: say --disk MOUNTPOINT=WHERE for each", p.ID, len(p.Volumes))
	}
	return out, nil
}

func located(p *catalog.Point, purpose database.Purpose) string {
	for _, l := range p.Paths {
		if l.Purpose == purpose {
			return l.Place.Path
		}
	}
	return ""
}

// restoring gathers what a restore needs, and decides which copy of the point it reads; account is how one logs in to the copy: as to the
// instance, if it is configured.
func (a *app) restoring(ctx context.Context, s *stock, f *copyFlags, point **catalog.Point, datadir, run string, inPlace bool) (restore.Deps, database.Endpoint, error) {
	deps := restore.Deps{Connect: wire.Pool, Progress: a.progress(), Log: a.log}
	p := *point
	where, err := attached(p, f.disks)
	if err == nil {
		err = from(f.from).check()
	}
	if err == nil {
		*point, err = a.source(ctx, p, from(f.from), wire.OpenAt(where))
	}
	if err != nil {
		return deps, database.Endpoint{}, err
	}
	deps.Open = s.opening(wire.OpenAt(where), seeds(p, f.seeds, datadir, inPlace, run))
	i, err := a.instance(ctx, []string{p.Instance})
	if errors.Is(err, errNoInstance) && !inPlace {
		return deps, database.Endpoint{}, nil // another host, or no longer configured: root over the socket
	}
	if errors.Is(err, errNoInstance) {
		return deps, database.Endpoint{}, withHint{err, "a stopped server cannot be found: write it into the configuration (see README)"}
	}
	if err != nil {
		return deps, database.Endpoint{}, err
	}
	account := database.Endpoint{User: i.User, OptionFile: i.ClientOptionFile}
	if !inPlace {
		return deps, account, nil
	}
	endpoint, err := wire.Endpoint(i)
	if err != nil {
		return deps, account, err
	}
	own, err := wire.Service(i, &database.Facts{Process: p.Process})
	if err != nil {
		return deps, account, err
	}
	// The instance is stopped (restore makes sure), so there is no process from before.
	deps.StartService = func(ctx context.Context) error {
		return own.Up(ctx, service.Process{}, func(ctx context.Context) error { return wire.Ping(ctx, endpoint) })
	}
	deps.StopCommand = own.StopCommand()
	deps.StopService = func(ctx context.Context) error {
		return own.Down(ctx, wire.ServerProcess(ctx, endpoint))
	}
	return deps, account, nil
}

// refused gives a restore's refusal the exit code of a usage error: nothing was touched.
func refused(err error) error {
	var r *restore.Refusal
	if errors.As(err, &r) {
		return usageError{err}
	}
	return err
}

func (a *app) printRestored(title string, r *restore.Result, more ...[2]string) error {
	if a.json {
		return a.printJSON(r)
	}
	w := a.stdout
	heading(w, title+" "+r.Point)
	t := newTable(w)
	how := r.How
	if r.Bytes > 0 {
		how += ", " + humanize.IBytes(uint64(r.Bytes)) + " copied"
	}
	t.row("data", r.Datadir+" ("+how+")")
	switch {
	case r.Running && r.Socket != "":
		t.row("server", fmt.Sprintf("running, process %d, port %d, socket %s", r.PID, r.Port, r.Socket))
	case r.Running:
		t.row("server", fmt.Sprintf("running as the instance's service, process %d", r.PID))
	}
	t.row("position", printable(position(r.Position)))
	for _, v := range r.Verified {
		t.row("verified", printable(v))
	}
	for _, pair := range append(more, [][2]string{{"options", r.OptionFile}, {"connect", r.Connect}, {"start", r.Begin}, {"stop", r.Stop}}...) {
		if pair[1] != "" {
			t.row(pair[0], pair[1])
		}
	}
	if r.Aside != "" {
		t.row("old data", r.Aside+" (when you no longer need them: rm -r "+r.Aside+")")
	}
	t.flush()
	printWarnings(w, r.Warnings)
	return nil
}
