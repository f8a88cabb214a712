package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/retain"
	"github.com/holdstill/holdstill/internal/wire"
)

type pruneFlags struct {
	instance string
	host     string
	dryRun   bool
}

func (a *app) prune() *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove the restore points that no rule of retention wants",
		Long: `Prune decides about every point of this machine by the retention of the configuration, removes those that no rule wants, from
here and from the repository, drops the snapshots of those that need no longer be here, and lets the repository give back the
space. Archived binary logs from before what any remaining point needs are removed, too. --dry-run prints what it would do with each
point, and why. Pinned points and the newest good one always stay.

Each machine prunes its own points. Those of a machine that is gone are pruned with --host, by the top-level retention.`,
		Example: `  holdstill prune --dry-run
  holdstill prune
  holdstill prune --instance shop --json
  holdstill prune --host db-old --dry-run`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runPrune(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the verdicts, change nothing")
	flags.StringVar(&f.instance, "instance", "", "only the points of this instance")
	flags.StringVar(&f.host, "host", "", "the points of another machine (default: this one's)")
	return cmd
}

// pruned is what prune tells.
type pruned struct {
	DryRun     bool                    `json:"dry_run"`
	Verdicts   []verdict               `json:"verdicts"`
	Binlogs    []prunedLogs            `json:"binlogs,omitempty"`
	Repository *repository.Maintenance `json:"repository,omitempty"`
}

type verdict struct {
	Point    string    `json:"point"`
	Instance string    `json:"instance"`
	Host     string    `json:"host"`
	TakenAt  time.Time `json:"taken_at"`
	Action   string    `json:"action"`
	Reasons  []string  `json:"reasons"`
	Skipped  string    `json:"skipped,omitempty"` // why it was not carried out
}

func (a *app) runPrune(ctx context.Context, f pruneFlags) error {
	s := &stock{app: a}
	defer s.close()
	verdicts, in, err := a.verdicts(ctx, s, f)
	if err != nil {
		return err
	}
	stored := s.store != nil
	out := pruned{DryRun: f.dryRun, Verdicts: []verdict{}}
	for _, v := range verdicts {
		p := v.Point
		out.Verdicts = append(out.Verdicts, verdict{Point: p.ID, Instance: p.Instance, Host: p.Host, TakenAt: p.TakenAt, Action: v.Action(), Reasons: v.Reasons})
	}
	if f.dryRun {
		if out.Binlogs, err = a.pruneAllLogs(ctx, f, verdicts); err != nil {
			return err
		}
		return a.printPruned(out)
	}
	skipped, err := a.carryOut(ctx, s, verdicts, in)
	if err != nil {
		return err
	}
	if out.Binlogs, err = a.pruneAllLogs(ctx, f, nil); err != nil {
		return err
	}
	busy := map[string]bool{}
	for i := range out.Verdicts {
		v := &out.Verdicts[i]
		if v.Skipped = skipped[v.Point]; v.Skipped == instanceBusy {
			busy[v.Instance] = true
		}
	}
	if stored {
		m, err := s.store.Maintain(ctx)
		if err != nil {
			return err
		}
		out.Repository = &m
	}
	if err := a.printPruned(out); err != nil || len(busy) == 0 {
		return err
	}
	return withHint{besides{fmt.Errorf("not all was pruned of %s: %w", strings.Join(slices.Sorted(maps.Keys(busy)), ", "), lock.ErrBusy)},
		"prune again when the other run has ended"}
}

// verdicts decides about all points, instance by instance. If there is a repository it is open then.
func (a *app) verdicts(ctx context.Context, s *stock, f pruneFlags) ([]retain.Verdict, imports, error) {
	c, err := a.written()
	if err != nil {
		return nil, imports{}, err
	}
	if c == nil {
		c = &config.Config{}
	}
	host := f.host
	if host == "" {
		host = hostname.Name()
	}
	in, err := a.current(ctx, s)
	if err != nil {
		return nil, in, err
	}
	points, err := a.catalogue().List(f.instance)
	if err != nil {
		return nil, in, err // a point that cannot be read might be the one that a rule wants
	}
	byInstance := map[string][]*catalog.Point{}
	var names []string
	for _, p := range points {
		if p.Host != host {
			continue
		}
		if byInstance[p.Instance] == nil {
			names = append(names, p.Instance)
		}
		byInstance[p.Instance] = append(byInstance[p.Instance], p)
	}
	slices.Sort(names)
	var out []retain.Verdict
	for _, name := range names {
		policy := c.RetentionOf(name)
		policy.Repository, policy.ByHost = s.store != nil, wire.ByHost
		out = append(out, retain.Decide(byInstance[name], policy, time.Now())...)
	}
	return out, in, nil
}

// current brings the catalogue up to what the repository holds: a point that is said to be there must be.
func (a *app) current(ctx context.Context, s *stock) (imports, error) {
	none := imports{busy: map[string]bool{}}
	store, err := s.open(ctx)
	if errors.Is(err, wire.ErrNoRepository) {
		return none, nil
	}
	in := none
	if err == nil {
		in, err = a.importPoints(ctx, store)
	}
	if err != nil {
		return none, fmt.Errorf("nothing is pruned, since it is not known what the repository holds: %w", err)
	}
	return in, nil
}

// instanceBusy is why something was not done.
const instanceBusy = "another run holds the instance"

// carryOut does what was decided, oldest first, and tells by points what it did not do, and why. A point that changed meanwhile (pinned,
// verified) is left for the next time, and so is an instance that another run has.
func (a *app) carryOut(ctx context.Context, s *stock, verdicts []retain.Verdict, in imports) (map[string]string, error) {
	skipped := map[string]string{}
	pins, err := a.pins(ctx, s)
	if err != nil {
		return skipped, err
	}
	for _, v := range verdicts {
		if v.Keep && !v.DropsLocal() {
			continue
		}
		id := v.Point.ID
		if in.busy[v.Point.Instance] {
			skipped[id] = instanceBusy
			continue
		}
		p, release, err := a.ownPoint(id, "")
		if isBusy(err) {
			a.log.Warn("nothing more of the instance is pruned now: "+err.Error(), "instance", v.Point.Instance)
			in.busy[v.Point.Instance], skipped[id] = true, instanceBusy
			continue
		}
		if errors.Is(err, catalog.ErrNotFound) {
			continue
		}
		if err != nil {
			return skipped, err
		}
		pinned, held := pins[id]
		switch {
		case p.Pinned != v.Point.Pinned || p.Status != v.Point.Status:
			skipped[id] = "it has changed meanwhile"
		case pinned:
			skipped[id] = "it was pinned meanwhile, on another machine"
		case v.Keep && !held:
			skipped[id] = "the repository does not hold it any more"
		case a.mountedCut(p) != nil:
			skipped[id] = "its snapshot is mounted"
		default:
			err = a.carry(ctx, s, p, v)
		}
		release()
		if err != nil {
			return skipped, err
		}
	}
	return skipped, nil
}

// pins are those of the stored points, asked for at the last moment: any machine may pin any point.
func (a *app) pins(ctx context.Context, s *stock) (map[string]bool, error) {
	out := map[string]bool{}
	if s.store == nil {
		return out, nil
	}
	stored, err := s.store.Points(ctx)
	if err != nil {
		return nil, fmt.Errorf("nothing is pruned, since it is not known what the repository holds: %w", err)
	}
	for _, p := range stored {
		out[p.Point] = out[p.Point] || p.Pinned
	}
	return out, nil
}

// carry removes a point, or its snapshots: their entry is changed last, since a restore finds its way when it names one that is gone.
func (a *app) carry(ctx context.Context, s *stock, p *catalog.Point, v retain.Verdict) error {
	if !v.Keep {
		a.log.Info("Removing point "+p.ID, "reason", strings.Join(v.Reasons, "; "))
		return a.remove(ctx, s, p)
	}
	a.log.Info("Dropping the snapshots of point "+p.ID, "reason", strings.Join(v.Reasons, "; "))
	if err := a.destroyCuts(ctx, p); err != nil {
		return err
	}
	if err := fault.At("prune.dropped"); err != nil {
		return err
	}
	p.Snapshot.Refs = p.Snapshot.Refs[:0]
	return a.catalogue().Put(p)
}

func (a *app) printPruned(out pruned) error {
	if a.json {
		return a.printJSON(out)
	}
	if len(out.Verdicts) == 0 && len(out.Binlogs) == 0 {
		return a.say(nil, "there are no points to decide about")
	}
	t := newTable(a.stdout)
	t.row("POINT", "INSTANCE", "TAKEN (UTC)", "ACTION", "WHY")
	for _, v := range out.Verdicts {
		action := v.Action
		if v.Skipped != "" {
			action = "not now"
			v.Reasons = append([]string{v.Skipped}, v.Reasons...)
		}
		t.row(v.Point, v.Instance, v.TakenAt.Format("2006-01-02 15:04"), action, printable(strings.Join(v.Reasons, "; ")))
	}
	t.flush()
	for _, l := range out.Binlogs {
		fmt.Fprintln(a.stdout, printable(l.String()))
	}
	if out.DryRun {
		return a.say(nil, "nothing was changed")
	}
	if m := out.Repository; m != nil && !m.Ran {
		return a.say(nil, "the repository gives back the space later: %s", m.Reason)
	}
	return nil
}
