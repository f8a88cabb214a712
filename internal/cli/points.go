package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/plan"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/wire"
)

func (a *app) points() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "points",
		Short: "The catalogue of restore points",
		Example: `  holdstill points list
  holdstill points show latest
  holdstill points pin latest~1
  holdstill points rm 20261122-130000`,
		Args: exactly(0),
		RunE: a.group,
	}
	var instance string
	var here, all, paranoid, tables bool
	scratch := &scratchFlags{}
	list := &cobra.Command{
		Use: "list", Short: "List the restore points, newest last", Args: exactly(0), Example: "  holdstill points list --instance shop --json",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listPoints(cmd.Context(), instance, here) },
	}
	show := &cobra.Command{
		Use: "show POINT", Short: "Show one restore point (an id, a unique prefix, latest, latest~1, ...)", Args: exactly(1), Example: "  holdstill points show latest\n  holdstill points show latest --tables",
		Long: `Show tells all that is known of a point. With --tables it also lists the databases and tables that it holds, with their engines, estimated
rows and sizes: a scratch server on a copy of the point is asked, once; the next time the list is there at once.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.showPoint(cmd.Context(), args[0], instance, tables, scratch)
		},
	}
	show.Flags().BoolVar(&tables, "tables", false, "list its databases and tables too")
	scratch.registerPlace(show)
	rm := &cobra.Command{
		Use: "rm POINT", Short: "Remove a restore point and its snapshots", Args: exactly(1), Example: "  holdstill points rm latest~3",
		RunE: func(cmd *cobra.Command, args []string) error { return a.removePoint(cmd.Context(), args[0], instance) },
	}
	pin := &cobra.Command{
		Use: "pin POINT", Short: "Keep a restore point from being removed", Args: exactly(1), Example: "  holdstill points pin latest",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.pinPoint(cmd.Context(), args[0], instance, true)
		},
	}
	unpin := &cobra.Command{
		Use: "unpin POINT", Short: "Let a restore point be removed again", Args: exactly(1), Example: "  holdstill points unpin latest",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.pinPoint(cmd.Context(), args[0], instance, false)
		},
	}
	ship := &cobra.Command{
		Use: "ship [POINT]", Short: "Send a restore point, or --all that are not there yet, to the repository", Args: atMost(1),
		Long: `Ship sends a point to the repository, and reads for it only what the file system says has changed since the last point that
is there. --paranoid reads everything and fails if the file system was wrong; HOLDSTILL_PARANOID=1 in the environment makes every ship,
also that of a backup, do so: a check for tests.`,
		Example: "  holdstill points ship latest\n  holdstill points ship --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usagef("name a point, or say --all")
			}
			return a.ship(cmd.Context(), strings.Join(args, ""), instance, all, paranoid)
		},
	}
	ship.Flags().BoolVar(&all, "all", false, "every point of this machine that the repository does not hold")
	ship.Flags().BoolVar(&paranoid, "paranoid", false, "read everything, and fail if the file system was wrong about what changed")
	list.Flags().BoolVar(&here, "local", false, "do not ask the repository")
	cmd.PersistentFlags().StringVar(&instance, "instance", "", "only the points of this instance")
	cmd.AddCommand(list, show, ship, rm, pin, unpin)
	return cmd
}

// earlier are the windows of the points that were taken as the plan would, newest first.
func (a *app) earlier(instance string, p *plan.Plan) []catalog.Window {
	points, _ := a.catalogue().List(instance) // a prediction only: what cannot be read is told by points list
	var out []catalog.Window
	for i := len(points) - 1; i >= 0; i-- {
		cuts := func(u snapshot.Unit) bool { return u.Provider == points[i].Snapshot.Provider }
		if points[i].Mode == p.Mode && slices.ContainsFunc(p.Units, cuts) {
			out = append(out, points[i].Window)
		}
	}
	return out
}

// shownPoint is a point with what is found out about it.
type shownPoint struct {
	*catalog.Point
	Recoverable *pitr.Reach       `json:"recoverable,omitempty"`
	Databases   []schema.Database `json:"databases,omitempty"`
}

// showPoint asks the repository where this machine does not know the point.
func (a *app) showPoint(ctx context.Context, name, instance string, tables bool, f *scratchFlags) error {
	s := &stock{app: a}
	defer s.close()
	point, err := a.find(ctx, s, name, instance)
	if err != nil {
		return err
	}
	shown := shownPoint{Point: point, Recoverable: a.reach(ctx, point)}
	var found *schema.Server
	if tables {
		if found, err = a.tablesOf(ctx, s, f, point); err != nil {
			return err
		}
		shown.Databases = found.Databases
	}
	if a.json {
		return a.printJSON(shown)
	}
	var more [][2]string
	if shown.Recoverable != nil {
		more = append(more, [2]string{"recoverable", printable(recoverable(shown.Recoverable))})
	}
	if err := a.printPoint(point, more...); err != nil || found == nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	a.printTables(found)
	return nil
}

// brief bounds what is asked of the repository only to be polite.
const brief = 20 * time.Second

// refresh brings in what other hosts shipped; that it cannot is no reason not to list what is known.
func (a *app) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, brief)
	defer cancel()
	store, err := a.openStore(ctx)
	if errors.Is(err, wire.ErrNoRepository) {
		return
	}
	if err == nil {
		_, err = a.importPoints(ctx, store)
		err = errors.Join(err, store.Close(context.WithoutCancel(ctx)))
	}
	if err != nil {
		a.log.Warn("the repository could not be asked, so points of other machines may be missing: " + err.Error())
	}
}

func (a *app) listPoints(ctx context.Context, instance string, here bool) error {
	if !here {
		a.refresh(ctx)
	}
	points, err := a.catalogue().List(instance)
	if a.json {
		if err != nil {
			return err
		}
		return a.printJSON(append([]*catalog.Point{}, points...))
	}
	if len(points) == 0 {
		fmt.Fprintln(a.stderr, "no restore points yet: holdstill backup takes one")
		return err
	}
	t := newTable(a.stdout)
	t.row("POINT", "HOST", "INSTANCE", "TAKEN (UTC)", "ROLE", "MODE", "CONSISTENCY", "STALL", "SIZE", "STATUS")
	for _, p := range points {
		status := string(p.Status)
		if len(p.Snapshot.Refs) == 0 && p.Repository != nil {
			status += ", not here"
		}
		if p.Pinned {
			status += ", pinned"
		}
		t.row(p.ID, p.Host, p.Instance, p.TakenAt.Format("2006-01-02 15:04:05"), string(p.Role), string(p.Mode), string(p.Consistency),
			millis(p.Window.StallMS), humanize.IBytes(uint64(p.SizeBytes)), status)
	}
	t.flush()
	return err
}

func millis(v float64) string {
	if v >= 10_000 {
		return fmt.Sprintf("%.1f s", v/1000)
	}
	if v >= 100 {
		return fmt.Sprintf("%.0f ms", v)
	}
	return fmt.Sprintf("%.1f ms", v)
}

func (a *app) printPoint(p *catalog.Point, more ...[2]string) error {
	if a.json {
		return a.printJSON(p)
	}
	w := a.stdout
	heading(w, "Point "+p.ID)
	t := newTable(w)
	t.row("instance", whose(p))
	t.row("taken", fmt.Sprintf("%s as %s, mode %s", p.TakenAt.Format("2006-01-02 15:04:05.000 UTC"), p.Role, p.Mode))
	t.row("consistency", consistency(p)+": "+printable(p.ConsistencyReason))
	if p.Server.Product != database.Scripts {
		t.row("position", printable(position(p.Position)))
	}
	for _, s := range p.Scripts {
		t.row(s.Phase+" script", printable(scriptOutcome(s)))
	}
	for _, c := range p.Sources {
		t.row("source", printable(strings.TrimSpace(fmt.Sprintf("%s %s:%d at %s:%d %s", c.Name, c.Host, c.Port, c.File, c.Offset, c.GTID))))
	}
	if p.Mode == database.Cold {
		t.row("down", fmt.Sprintf("%s (frozen %s, snapshot %s)", millis(p.Window.StallMS), millis(p.Window.FreezeMS), millis(p.Window.SnapshotMS)))
	} else {
		t.row("stall", fmt.Sprintf("%s (lock %s, frozen %s, snapshot %s)", millis(p.Window.StallMS), millis(p.Window.LockMS), millis(p.Window.FreezeMS), millis(p.Window.SnapshotMS)))
	}
	t.row("size", humanize.IBytes(uint64(p.SizeBytes)))
	t.row("status", string(p.Status))
	for _, r := range p.Snapshot.Refs {
		t.row("snapshot", r.Provider+" "+r.Name)
	}
	if r := p.Repository; r != nil {
		t.row("repository", fmt.Sprintf("%s, %s read, %s sent", r.ID, humanize.IBytes(uint64(r.ReadBytes)), humanize.IBytes(uint64(r.NewBytes))))
	}
	dumped := dumpedIn(p)
	for _, dir := range slices.Sorted(maps.Keys(dumped)) {
		t.row("dump", printable(dir+" ("+counted(dumped[dir], "table")+")"))
	}
	for _, l := range p.Paths {
		what := "holds"
		if l.Unit == "" {
			what = "without"
		}
		t.row(what, printable(string(l.Purpose)+" "+l.Place.Real))
	}
	for _, pair := range more {
		t.row(pair[0], pair[1])
	}
	t.flush()
	printWarnings(w, p.Warnings)
	return nil
}

func printWarnings(w io.Writer, warnings []string) {
	for _, text := range warnings {
		fmt.Fprintln(w, "  "+color.YellowString("!")+" "+printable(text))
	}
}

func consistency(p *catalog.Point) string {
	if p.Consistency == catalog.Application {
		return color.GreenString(string(p.Consistency))
	}
	return color.YellowString(string(p.Consistency))
}

// removePoint marks the point, takes it out of the repository, destroys the snapshots and forgets it last: a kill in between leaves a point
// that can be removed again, and never one that is listed and gone.
func (a *app) removePoint(ctx context.Context, name, instance string) error {
	p, release, err := a.ownPoint(name, instance)
	if err != nil {
		return err
	}
	defer release()
	if err := a.mountedCut(p); err != nil {
		return err
	}
	s := &stock{app: a}
	defer s.close()
	stored, err := a.stored(ctx, s, p)
	switch {
	case err != nil && s.store == nil && p.Repository != nil:
		return fmt.Errorf("cannot remove the point %s from the repository: %w", p.ID, err)
	case err != nil:
		a.log.Warn("the repository cannot be asked about the point: "+err.Error(), "point", p.ID)
	case stored != nil:
		p.Pinned = stored.Pinned
		if p.Repository == nil {
			p.Repository = &catalog.Shipment{}
		}
		p.Repository.ID = stored.Handle
	}
	if p.Pinned {
		return withHint{usagef("point %s is pinned", p.ID), "holdstill points unpin " + p.ID}
	}
	if err := a.remove(ctx, s, p); err != nil {
		return err
	}
	return a.say(map[string]any{"removed": p.ID}, "removed point %s", p.ID)
}

// stored asks the repository for a point, also for one of which this machine does not know that it is there: a kill may have kept it from
// noting that. Nil: it is not there, or there is no repository.
func (a *app) stored(ctx context.Context, s *stock, p *catalog.Point) (*repository.Stored, error) {
	store, err := s.open(ctx)
	if errors.Is(err, wire.ErrNoRepository) && p.Repository == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := wire.FindStored(ctx, store, p.ID)
	if errors.Is(err, repository.ErrNotThere) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &found, nil
}

func (a *app) remove(ctx context.Context, s *stock, p *catalog.Point) error {
	var store repository.Store
	if p.Repository != nil {
		var err error
		if store, err = s.open(ctx); err != nil {
			return fmt.Errorf("cannot remove the point %s from the repository: %w", p.ID, err)
		}
	}
	p.Status = catalog.Expired
	if err := a.catalogue().Put(p); err != nil {
		return err
	}
	if err := fault.At("remove.marked"); err != nil {
		return err
	}
	if store != nil {
		if err := store.Remove(ctx, repository.Stored{Description: repository.Description{Point: p.ID}, Handle: p.Repository.ID}); err != nil {
			return err
		}
	}
	if err := fault.At("remove.unlisted"); err != nil {
		return err
	}
	if err := a.destroyCuts(ctx, p); err != nil {
		return err
	}
	return a.catalogue().Forget(p.ID)
}

// destroyCuts removes the snapshots of a point.
func (a *app) destroyCuts(ctx context.Context, p *catalog.Point) error {
	for _, ref := range p.Snapshot.Refs {
		provider, err := wire.ProviderNamed(ref.Provider)
		if err != nil {
			return err
		}
		if err := provider.Destroy(ctx, ref); err != nil {
			return fmt.Errorf("cannot remove the snapshot %s of point %s: %w", ref.Name, p.ID, err)
		}
	}
	return nil
}

// ownPoint finds a point, locks its instance and its shipping, and reads it again: it may have changed while nobody held the locks.
func (a *app) ownPoint(name, instance string) (*catalog.Point, func(), error) {
	p, err := a.catalogue().Find(name, instance)
	if err == nil && p.Host != hostname.Name() && !strings.HasPrefix(p.ID, name) {
		err = withHint{usagef("%s is a point of another machine, %s: say its id if you mean it", name, p.Host), p.ID}
	}
	if err != nil {
		return nil, nil, err
	}
	held, err := lock.Take(a.dirs.Run, p.Instance)
	if err != nil {
		return nil, nil, err
	}
	shipping, err := a.shipLock(p.Instance)
	if err != nil {
		_ = held.Close()
		return nil, nil, fmt.Errorf("points of %s are being shipped: %w", p.Instance, err)
	}
	release := func() { _, _ = shipping.Close(), held.Close() }
	if p, err = a.catalogue().Find(p.ID, ""); err != nil {
		release()
		return nil, nil, err
	}
	return p, release, nil
}

// pinPoint changes the repository first: if that fails nothing is changed, and what only this machine knew would be lost with the next import.
func (a *app) pinPoint(ctx context.Context, name, instance string, pinned bool) error {
	p, release, err := a.ownPoint(name, instance)
	if err != nil {
		return err
	}
	defer release()
	s := &stock{app: a}
	defer s.close()
	stored, err := a.stored(ctx, s, p)
	if err == nil && stored != nil {
		var now repository.Stored
		if now, err = pinStored(ctx, s.store, *stored, pinned); err == nil && p.Repository != nil {
			p.Repository.ID = now.Handle
		}
	}
	switch {
	case err != nil && (p.Repository != nil || stored != nil):
		return fmt.Errorf("point %s is not changed, since the repository cannot be told: %w", p.ID, err)
	case err != nil:
		a.log.Warn("the repository cannot be asked whether it holds the point: "+err.Error(), "point", p.ID)
	}
	p.Pinned = pinned
	if err := a.catalogue().Put(p); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(p)
	}
	return a.say(nil, "point %s is %s", p.ID, map[bool]string{true: "pinned", false: "no longer pinned"}[pinned])
}

// say prints one sentence, or the document where JSON was asked for.
func (a *app) say(document any, format string, args ...any) error {
	if a.json {
		return a.printJSON(document)
	}
	_, err := fmt.Fprintf(a.stdout, format+"\n", args...)
	return err
}
