package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/undo"
	"github.com/holdstill/holdstill/internal/wire"
)

func (a *app) recover() *cobra.Command {
	var acknowledge bool
	cmd := &cobra.Command{
		Use:   "recover [INSTANCE]",
		Short: "Take back whatever a dead run left behind",
		Long: `Recover reads the ledgers of runs that did not end (killed, crashed, rebooted) and takes back what they left, last
first: thaws, unlocks, starts services and replication threads, puts variables back, removes unfinished snapshots. It
may be run at any time and any number of times. What it cannot take back it shows with the command to type, exits with
6, and blocks new runs of that instance until it succeeds. With --acknowledge it tries once more, and then forgets what it
cannot take back: say so when a person has done it.`,
		Example: "  holdstill recover\n  holdstill recover shop --acknowledge",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			instances, err := a.instancesLeft(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.recoverAll(cmd.Context(), instances, len(args) > 0, acknowledge)
		},
	}
	cmd.Flags().BoolVar(&acknowledge, "acknowledge", false, "forget what cannot be taken back: a person did it")
	return cmd
}

// instancesLeft names those that have ledgers; that needs no configuration. A name that is asked for must have one or be
// configured: after an incident a slip of the pen must not read as "nothing was left behind".
func (a *app) instancesLeft(ctx context.Context, args []string) ([]string, error) {
	left, err := undo.Leftovers(a.dirs.Runs())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range left {
		if !slices.Contains(names, l.Instance) {
			names = append(names, l.Instance)
		}
	}
	if len(args) == 0 {
		return names, nil
	}
	if !slices.ContainsFunc(left, func(l undo.Left) bool { return l.Concerns(args[0]) }) {
		if _, err := a.instance(ctx, args); err != nil {
			return nil, withHint{fmt.Errorf("no run of %q left anything, and %v: %w", args[0], err, catalog.ErrNotFound), "see holdstill doctor for the names"}
		}
	}
	return args, nil
}

// recovered is what a recover did, in words.
type recovered struct {
	Instance string `json:"instance"`
	Run      string `json:"run"`
	Stage    string `json:"stage"`
	Title    string `json:"title"`
}

func (a *app) recoverAll(ctx context.Context, instances []string, asked, acknowledge bool) error {
	taken, forgotten := []recovered{}, []recovered{}
	all := []error{undo.Sweep(a.dirs.Runs())}
	back, err := a.recoverMounts()
	taken, all = append(taken, back...), append(all, err)
	for _, name := range instances {
		back, acknowledged, err := a.recoverOne(ctx, name, acknowledge)
		if errors.Is(err, lock.ErrBusy) && !asked {
			a.log.Info("Not touched: " + err.Error())
			continue
		}
		taken, forgotten = append(taken, back...), append(forgotten, acknowledged...)
		all = append(all, err)
	}
	if err := errors.Join(all...); err != nil {
		for _, t := range taken {
			a.log.Info("Taken back: "+t.Title, "instance", t.Instance)
		}
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"taken_back": taken, "acknowledged": forgotten})
	}
	if len(taken)+len(forgotten) == 0 {
		return a.say(nil, "nothing was left behind")
	}
	for _, t := range taken {
		fmt.Fprintf(a.stdout, "taken back: %s (%s)\n", t.Title, t.Instance)
	}
	for _, t := range forgotten {
		fmt.Fprintf(a.stdout, "acknowledged, not taken back: %s (%s)\n", t.Title, t.Instance)
	}
	return nil
}

func (a *app) recoverOne(ctx context.Context, name string, acknowledge bool) (taken, forgotten []recovered, err error) {
	release, err := a.lockDead(name)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	taken, err = a.takeBack(ctx, name)
	if err != nil && acknowledge {
		forgotten, err = a.acknowledge(name)
	}
	return taken, forgotten, err
}

// lockDead locks a name with ledgers. Where they are of no instance but have changed some, those are locked too, and first: who holds an
// instance may rely on it that nobody changes it, and takes such ledgers back by itself.
func (a *app) lockDead(name string) (release func(), err error) {
	left, err := a.leftOf(name)
	if err != nil {
		return nil, err
	}
	var names []string
	if isAlone(name) {
		for _, l := range left {
			names = append(names, l.Instances()...)
		}
		slices.Sort(names)
	}
	var locks []func()
	release = func() {
		for _, one := range locks {
			one()
		}
	}
	for _, one := range append(slices.Compact(names), lockName(name)) {
		free, err := a.lockOwner(one)
		if err != nil {
			release()
			return nil, err
		}
		locks = append(locks, free)
	}
	return release, nil
}

// lockOwner locks an instance, or the name of a run that belongs to none, whose lock goes with it.
func (a *app) lockOwner(owner string) (release func(), err error) {
	held, err := lock.Take(a.dirs.Run, owner)
	if err != nil {
		return nil, err
	}
	return func() {
		if isAlone(owner) { // nobody else will ever lock it
			_ = os.Remove(held.Path())
		}
		_ = held.Close()
	}, nil
}

// recoverAlone takes back what dead runs left that belong to no instance (a scratch server, a restore), since no later run of theirs comes. What
// cannot be taken back stands in nobody's way: recover tells it.
func (a *app) recoverAlone(ctx context.Context) {
	names, err := a.instancesLeft(ctx, nil)
	if err != nil {
		return // the run that is begun will meet it
	}
	for _, name := range names {
		if !isAlone(name) {
			continue
		}
		if _, _, err := a.recoverOne(ctx, name, false); err != nil && !errors.Is(err, lock.ErrBusy) {
			a.log.Warn("what a dead run left cannot be taken back, see holdstill recover: "+err.Error(), "run", strings.TrimPrefix(name, runPrefix))
		}
	}
}

// lockName serves ledgers whose first line is damaged: they belong to nobody that we know.
func lockName(instance string) string {
	if instance == "" {
		return "unnamed"
	}
	return instance
}

// leftOf lists the ledgers of an instance's runs, and those of nobody's runs that have left it changed.
func (a *app) leftOf(instance string) ([]undo.Left, error) {
	left, err := undo.Leftovers(a.dirs.Runs())
	return slices.DeleteFunc(left, func(l undo.Left) bool { return !l.Concerns(instance) }), err
}

// takeBack undoes what dead runs left of the instance, the newest first. The caller holds the instance's lock.
func (a *app) takeBack(ctx context.Context, instance string) ([]recovered, error) {
	left, err := a.leftOf(instance)
	if err != nil || len(left) == 0 {
		return nil, err
	}
	if err := a.catalogue().Settle(); err != nil {
		return nil, err
	}
	var taken []recovered
	var all []error
	for _, l := range slices.Backward(left) {
		back, err := a.takeBackRun(ctx, instance, l)
		taken, all = append(taken, back...), append(all, err)
	}
	return taken, errors.Join(all...)
}

func (a *app) takeBackRun(ctx context.Context, instance string, l undo.Left) (taken []recovered, err error) {
	if l.Instance != instance {
		release, err := a.lockOwner(lockName(l.Instance))
		if isBusy(err) {
			return nil, nil // it lives: what a backup must not see of it, it does only while it holds the instance
		}
		if err != nil {
			return nil, err
		}
		defer release()
	}
	for _, d := range l.Open {
		a.log.Warn("Left behind: "+d.Title, "run", l.Run, "stage", d.Stage)
	}
	deeds, err := l.TakeBack(ctx, wire.Registry(), a.catalogue().Has, a.log)
	for _, d := range deeds {
		taken = append(taken, recovered{instance, l.Run, d.Stage, d.Title})
	}
	if err == nil { // what is still frozen needs its evidence
		err = a.removeEvidence(l.Run)
	}
	return taken, err
}

// acknowledge forgets what could not be taken back just now.
func (a *app) acknowledge(instance string) ([]recovered, error) {
	left, err := a.leftOf(instance)
	if err != nil {
		return nil, err
	}
	var forgotten []recovered
	for _, l := range left {
		err := l.Acknowledge()
		if errors.Is(err, undo.ErrAlive) && l.Instance != instance {
			continue
		}
		if err := errors.Join(err, a.removeEvidence(l.Run)); err != nil {
			return forgotten, err
		}
		for _, d := range l.Open {
			forgotten = append(forgotten, recovered{instance, l.Run, d.Stage, d.Title})
		}
	}
	return forgotten, nil
}

// removeEvidence removes the guard's evidence of a run that is over.
func (a *app) removeEvidence(run string) error {
	err := os.Remove(filepath.Join(a.dirs.Run, run+".freeze"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
