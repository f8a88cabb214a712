package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/load"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/plan"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/wire"
)

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor [INSTANCE]",
		Short: "Show the facts, the plan a backup would follow and why, and what is missing",
		Long: `Doctor asks the server and the storage, changes nothing, and prints the facts, the plan that a backup would follow
with its reasons, what is missing with its remedy, and the stall to expect. Where a host takes the snapshots (hook), it checks that
too. It exits with 0 only if a backup, or the snapshot of a host that is installed, would reach application consistency.`,
		Example: "  holdstill doctor\n  holdstill doctor shop --json",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.instance(cmd.Context(), args)
			if err != nil {
				return err
			}
			q, err := a.inquire(cmd.Context(), i, policyOf(i))
			if err != nil {
				return err
			}
			defer q.close()
			strays, err := a.strays(cmd.Context(), q.plan.Units)
			if err != nil {
				return err
			}
			for _, ref := range strays {
				q.plan.Warnings = append(q.plan.Warnings, fmt.Sprintf(
					"the %s snapshot %s belongs to no point of this catalogue: it is of a run under way, of a lost catalogue, or of another HOLDSTILL_STATE", ref.Provider, ref.Name))
			}
			q.plan.Warnings = append(q.plan.Warnings, a.unended(i.Name)...)
			q.plan.Warnings = append(q.plan.Warnings, unendedLoads(cmd.Context(), q)...)
			scripts := a.scripts(q.facts)
			hosts, err := a.hosts(cmd.Context(), i)
			if err != nil {
				return err
			}
			q.plan.Warnings = append(q.plan.Warnings, a.onlyHere(i.Name, anyHost(hosts))...)
			if a.json {
				err = a.printJSON(map[string]any{"instance": i.Name, "ok": q.plan.OK(), "facts": q.facts, "plan": q.plan, "strays": strays, "scripts": scripts, "hosts": hosts})
			} else {
				printFacts(a.stdout, q)
				printPlan(a.stdout, q)
				printHosts(a.stdout, hosts, q.plan)
				printScriptFindings(a.stdout, scripts)
			}
			if err == nil && !q.plan.OK() && !anyHost(hosts) {
				return errUnready
			}
			return err
		},
	}
}

// unended warns of runs whose ledgers are open: the next backup takes them back, or is refused if that fails.
func (a *app) unended(instance string) (warnings []string) {
	left, err := a.leftOf(instance)
	if err != nil {
		return []string{err.Error()}
	}
	for _, l := range left {
		for _, d := range l.Open {
			warnings = append(warnings, fmt.Sprintf("the run %s has not ended: %s (holdstill recover takes it back, if the run is dead)", l.Run, d.Title))
		}
	}
	return warnings
}

// unendedLoads warns of what loads that nobody went on with left in the server.
func unendedLoads(ctx context.Context, q *inquiry) []string {
	if q.facts.Product == database.Scripts {
		return nil
	}
	endpoint := q.endpoint
	endpoint.Product = q.facts.Product
	db, err := wire.Pool(ctx, endpoint)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = db.Close() }()
	warnings, err := load.Abandoned(ctx, db)
	if err != nil {
		return []string{err.Error()}
	}
	return warnings
}

// onlyHere warns of points that would be lost with this machine. The repository itself is not asked: that may want a password.
func (a *app) onlyHere(instance string, byHost bool) []string {
	c, err := config.Load(a.configPath)
	if err != nil {
		c = nil // the instance was found without a file, or the command would not have come this far
	}
	if _, err := wire.RepositoryOf(c, a.dirs); err != nil {
		if byHost {
			return nil
		}
		return []string{"this machine has no repository: a snapshot is lost together with the disk that it lies on (holdstill repository init)"}
	}
	waiting, _ := a.unshipped("", instance, true) // what cannot be read is told by points list
	if len(waiting) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("points on this machine only: %d, the oldest of %s (holdstill points ship --all)",
		len(waiting), waiting[0].TakenAt.Format("2006-01-02 15:04"))}
}

// strays lists, from the storage itself, the snapshots that no point refers to.
func (a *app) strays(ctx context.Context, units []snapshot.Unit) ([]snapshot.Ref, error) {
	points, err := a.catalogue().List("")
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, p := range points {
		for _, ref := range p.Snapshot.Refs {
			known[ref.Provider+ref.Name] = true
		}
	}
	out := []snapshot.Ref{}
	for _, unit := range units {
		provider, err := wire.ProviderNamed(unit.Provider)
		if err != nil {
			return nil, err
		}
		found, err := provider.Find(ctx, unit, "")
		if err != nil {
			return nil, fmt.Errorf("cannot list the snapshots on the %s: %w", unit.Why, err)
		}
		for _, ref := range found {
			if !known[ref.Provider+ref.Name] {
				known[ref.Provider+ref.Name] = true
				out = append(out, ref)
			}
		}
	}
	return out, nil
}

func printFacts(w io.Writer, q *inquiry) {
	if q.facts.Scripts != nil {
		printScripted(w, q)
	} else {
		printServer(w, q)
	}
	heading(w, "Files")
	for _, volume := range volumes(q.offers) {
		fmt.Fprintf(w, "  %s (%s on %s)\n", printable(volume.place.MountPoint), volume.place.FSType, volume.place.Device)
		t := newTable(w)
		for _, f := range volume.files {
			t.row("  "+f[0], printable(f[1]))
		}
		t.flush()
	}
}

func printServer(w io.Writer, q *inquiry) {
	f := q.facts
	heading(w, "Server "+q.instance.Name)
	t := newTable(w)
	t.row("product", f.Product+" "+f.Version)
	t.row("server id", identity(f))
	t.row("where", where(f))
	t.row("position", position(f.Position))
	t.row("settings", fmt.Sprintf("binlog_format=%s sync_binlog=%d innodb_flush_log_at_trx_commit=%d read_only=%s", f.BinlogFormat, f.SyncBinlog, f.FlushLog, f.ReadOnly))
	t.row("user tables", engines(f.Engines))
	t.flush()
}

// volume is a file system with what lies on it.
type volume struct {
	place mount.Place
	files [][2]string // path, purposes
}

func volumes(offers []plan.Offer) []*volume {
	var out []*volume
	for _, o := range offers {
		i := slices.IndexFunc(out, func(v *volume) bool { return v.place.MountPoint == o.Place.MountPoint })
		if i < 0 {
			out = append(out, &volume{place: o.Place})
			i = len(out) - 1
		}
		v := out[i]
		j := slices.IndexFunc(v.files, func(f [2]string) bool { return f[0] == printable(o.Place.Path) })
		if j < 0 {
			v.files = append(v.files, [2]string{printable(o.Place.Path), string(o.Purpose)})
		} else if !strings.Contains(v.files[j][1], string(o.Purpose)) {
			v.files[j][1] += ", " + string(o.Purpose)
		}
	}
	return out
}

func identity(f *database.Facts) string {
	if f.ServerUUID == "" {
		return fmt.Sprint(f.ServerID)
	}
	return fmt.Sprintf("%d, uuid %s", f.ServerID, f.ServerUUID)
}

func where(f *database.Facts) string {
	at := fmt.Sprintf("socket %s, port %d", f.Socket, f.Port)
	if f.Process.PID > 0 {
		at += fmt.Sprintf(", process %d (%s)", f.Process.PID, f.Process.Executable)
	}
	return at
}

func position(p database.Position) string {
	if p.File == "" {
		return "no binary log"
	}
	return strings.TrimSpace(fmt.Sprintf("%s:%d %s", p.File, p.Offset, p.GTID))
}

func engines(all []database.Engine) string {
	var out []string
	for _, e := range all {
		out = append(out, fmt.Sprintf("%d %s", e.Tables, e.Name))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

func printPlan(w io.Writer, q *inquiry) {
	p := q.plan
	heading(w, "Plan")
	t := newTable(w)
	for _, r := range p.Reasons {
		t.row(r.Topic+" "+color.CyanString(r.Decision), "because "+printable(r.Because))
	}
	t.flush()
	if len(p.Warnings) > 0 {
		heading(w, "Worth knowing")
		for _, text := range p.Warnings {
			fmt.Fprintln(w, "  "+color.YellowString("!")+" "+printable(text))
		}
	}
	if len(p.Problems) > 0 {
		heading(w, "In the way")
		for _, problem := range p.Problems {
			fmt.Fprintf(w, "  %s %s\n      %s\n", color.RedString("x"), printable(problem.What), printable(problem.Remedy))
		}
	}
	printLessened(w, p.Lessened)
	heading(w, "Verdict")
	switch p.Consistency {
	case catalog.Application:
		fmt.Fprintf(w, "  %s: %s\n", color.GreenString("application-consistent"), p.ConsistencyReason)
	case catalog.Filesystem, catalog.Crash:
		fmt.Fprintf(w, "  %s: %s\n", color.RedString("not application-consistent, but "+string(p.Consistency)), printable(p.ConsistencyReason))
	default:
		fmt.Fprintf(w, "  %s: see what is in the way\n", color.RedString("not application-consistent"))
	}
	fmt.Fprintf(w, "  stall to expect: %s\n", p.PredictedStall)
}
