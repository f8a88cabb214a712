package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/freeze"
	"github.com/holdstill/holdstill/internal/holder"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/plan"
	"github.com/holdstill/holdstill/internal/ship"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/take"
	"github.com/holdstill/holdstill/internal/undo"
	"github.com/holdstill/holdstill/internal/wire"
)

type backupFlags struct {
	mode, require string
	maxStall      time.Duration
	patience      time.Duration
	dryRun        bool
	noShip, dump  bool
}

func (a *app) backup() *cobra.Command {
	var f backupFlags
	cmd := &cobra.Command{
		Use:   "backup [INSTANCE]",
		Short: "Take one restore point",
		Long: `Backup holds the server still for as long as the storage needs to cut a snapshot, and records a restore point with its
exact replication position. What it finds (read-only, replication threads, the service) is what it puts back. If the
server is too busy to be held inside --max-stall, it waits and tries again, and gives up with nothing changed.

Where this machine has a repository, the point is then shipped there, while the server works on: only what the file system says
that changed since the last point is read. If that fails the point stays, on this machine.

With --dump a scratch server is then started on the point, and its tables are dumped from there, one file each (see holdstill
dump). Where the instance says dump: live, it is the running server that is dumped, after the point.`,
		Example: `  holdstill backup
  holdstill backup shop --mode cold
  holdstill backup --dump
  holdstill backup shop --max-stall 500ms --json
  holdstill backup shop --dry-run`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.instance(cmd.Context(), args)
			if err != nil {
				return err
			}
			policy, err := f.policy(i)
			if err != nil {
				return err
			}
			return a.runBackup(cmd.Context(), i, policy, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.mode, "mode", "", "auto, hot, locked or cold (default: the configuration's, else auto)")
	flags.StringVar(&f.require, "require", "", "application, filesystem or crash: less than this exits with 3 (default: the configuration's, else application)")
	flags.DurationVar(&f.maxStall, "max-stall", 0, "the longest time that commits may block (default: the configuration's, else 5s)")
	flags.DurationVar(&f.patience, "patience", 0, "how long to wait for a quiet moment (default: the configuration's, else 1m)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the plan and its reasons, change nothing")
	flags.BoolVar(&f.noShip, "no-ship", false, "keep the point on this machine only; holdstill points ship sends it later")
	flags.BoolVar(&f.dump, "dump", false, "make per-table dumps from the point, or beside it from the live server, as the section dump of the instance says")
	return cmd
}

// policy is the instance's, with what the command line says instead.
func (f backupFlags) policy(i *config.Instance) (plan.Policy, error) {
	if f.dump && !i.Dump.Live && i.Dump.Directory == "" {
		return plan.Policy{}, withHint{usagef("--dump: the configuration does not say where the dumps of %s go", i.Name),
			"instances: " + i.Name + ": dump: directory: /backup/dumps"}
	}
	p := policyOf(i)
	if f.mode != "" {
		p.Mode = database.Mode(f.mode)
	}
	if f.require != "" {
		p.Require = catalog.Consistency(f.require)
	}
	switch p.Mode {
	case database.Auto, database.Hot, database.Locked, database.Cold:
	default:
		return p, usagef("--mode must be auto, hot, locked or cold, not %q", p.Mode)
	}
	switch p.Require {
	case catalog.Application, catalog.Filesystem, catalog.Crash:
	default:
		return p, usagef("--require must be application, filesystem or crash, not %q", p.Require)
	}
	if f.maxStall < 0 || f.patience < 0 {
		return p, usagef("a duration cannot be negative")
	}
	if f.maxStall > 0 {
		p.MaxStall = f.maxStall
	}
	if f.patience > 0 {
		p.Patience = f.patience
	}
	return p, nil
}

func (a *app) runBackup(ctx context.Context, i *config.Instance, policy plan.Policy, f backupFlags) error {
	if f.dryRun {
		return a.printDryRun(ctx, i, policy)
	}
	point, err := a.locked(ctx, i, policy)
	if point == nil {
		return err
	}
	var shipped *ship.Result
	var shipping error
	if err == nil && !f.noShip {
		point, shipped, shipping = a.shipAfter(ctx, point)
	}
	told := func() error { return nil }
	switch {
	case err != nil || !f.dump:
	case i.Dump.Live:
		live, dumping := a.dumpLiveAfter(ctx, i)
		if shipping = errors.Join(shipping, dumping); live != nil {
			told = live
		}
	default:
		shipping = errors.Join(shipping, a.dumpAfter(ctx, i, point))
	}
	shown := *point
	if shipping != nil && a.json { // of this run, not of the point
		shown.Warnings = append(slices.Clone(point.Warnings), shipping.Error())
	}
	if err := errors.Join(a.printPoint(&shown), recorded(err)); err != nil {
		return err
	}
	if shipped != nil && !a.json {
		a.printShipped(point, shipped)
	}
	shipping = errors.Join(shipping, told())
	if point.Consistency.Meets(policy.Require) {
		return shipping
	}
	err = fmt.Errorf("%w: point %s is %s, not %s: %s", errBelow, point.ID, point.Consistency, policy.Require, point.ConsistencyReason)
	if shipping != nil {
		err = fmt.Errorf("%w; %w", err, shipping)
	}
	return err
}

// locked takes a point while no other run has the instance.
func (a *app) locked(ctx context.Context, i *config.Instance, policy plan.Policy) (*catalog.Point, error) {
	held, err := lock.Take(a.dirs.Run, i.Name)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	if _, err := a.takeBack(ctx, i.Name); err != nil {
		return nil, err
	}
	return a.takePoint(ctx, i, policy, alone())
}

func (a *app) printDryRun(ctx context.Context, i *config.Instance, policy plan.Policy) error {
	q, err := a.inquire(ctx, i, policy)
	if err != nil {
		return err
	}
	defer q.close()
	if a.json {
		err = a.printJSON(map[string]any{"instance": i.Name, "dry_run": true, "plan": q.plan})
	} else {
		printPlan(a.stdout, q)
	}
	if err == nil && len(q.plan.Problems) > 0 {
		return errUnready
	}
	return err
}

// company is who takes part in a run: who cuts, and whom it waits for.
type company struct {
	providers []snapshot.Provider
	amend     func(*database.Facts, *plan.Plan) // what else is known of the server; nil: nothing
	ready     func(context.Context) error
	failed    func()
	frozen    func() freeze.Times
}

// alone is a run that cuts by itself.
func alone() company { return company{providers: wire.Providers()} }

// takePoint plans, and carries the plan out under a ledger of its own. An error before that is marked with holder.ErrNotReady.
func (a *app) takePoint(ctx context.Context, i *config.Instance, policy plan.Policy, with company) (*catalog.Point, error) {
	q, err := a.inquireOf(ctx, i, policy, with.providers)
	if err != nil {
		return nil, unready{err}
	}
	defer q.close()
	if with.amend != nil {
		with.amend(q.facts, q.plan)
	}
	if err := errors.Join(refusal(q.plan), fault.At("facts.read")); err != nil {
		return nil, unready{err}
	}
	run, err := undo.Begin(a.dirs.Runs(), newID(), i.Name, wire.Registry(), a.log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := run.End(); err != nil {
			a.log.Warn("the ledger could not be closed; the next run will: "+err.Error(), "run", run.ID)
		}
	}()
	if err := fault.At("ledger.begun"); err != nil {
		return nil, err
	}
	return take.Backup(ctx, q.plan, q.facts, take.Deps{
		Server: q.server, Providers: byName(with.providers), Catalog: a.catalogue(), Run: run, Log: a.log.With("run", run.ID),
		Endpoint: q.endpoint, Address: i.Replication.Address, RunDir: a.dirs.Run,
		Ready: with.ready, Failed: with.failed, Frozen: with.frozen,
	})
}

// unready marks an error that came before anything was changed.
type unready struct{ error }

func (e unready) Unwrap() error        { return e.error }
func (e unready) Is(target error) bool { return target == holder.ErrNotReady }

func byName(providers []snapshot.Provider) map[string]snapshot.Provider {
	out := map[string]snapshot.Provider{}
	for _, p := range providers {
		out[p.Name()] = p
	}
	return out
}

// refusal turns the problems of a plan into one error: nothing was touched.
func refusal(p *plan.Plan) error {
	if len(p.Problems) == 0 {
		return nil
	}
	var what, remedies []string
	for _, problem := range p.Problems {
		what = append(what, printable(problem.What))
		remedies = append(remedies, printable(problem.Remedy))
	}
	return withHint{fmt.Errorf("cannot take a restore point: %s", strings.Join(what, "; ")), strings.Join(remedies, "; ")}
}

// newID names a run and its point: readable, sortable, and unlike any other's.
func newID() string {
	return time.Now().UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:6])
}
