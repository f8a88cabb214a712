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
	if !slices.Contains(names, args[0]) {
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
	held, err := lock.Take(a.dirs.Run, lockName(name))
	if err != nil {
		return nil, nil, err
	}
	defer held.Close()
	taken, err = a.takeBack(ctx, name)
	if err != nil && acknowledge {
		forgotten, err = a.acknowledge(name)
	}
	if err == nil && strings.HasPrefix(name, runPrefix) {
		err = os.Remove(held.Path()) // nobody else will ever lock it
	}
	return taken, forgotten, err
}

// lockName serves ledgers whose first line is damaged: they belong to nobody that we know.
func lockName(instance string) string {
	if instance == "" {
		return "unnamed"
	}
	return instance
}

func (a *app) leftOf(instance string) ([]undo.Left, error) {
	left, err := undo.Leftovers(a.dirs.Runs())
	return slices.DeleteFunc(left, func(l undo.Left) bool { return l.Instance != instance }), err
}

// takeBack undoes what dead runs of the instance left, the newest first. The caller holds the instance's lock.
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
		all = append(all, err)
	}
	return taken, errors.Join(all...)
}

// acknowledge forgets what could not be taken back just now.
func (a *app) acknowledge(instance string) ([]recovered, error) {
	left, err := a.leftOf(instance)
	if err != nil {
		return nil, err
	}
	var forgotten []recovered
	for _, l := range left {
		if err := errors.Join(l.Acknowledge(), a.removeEvidence(l.Run)); err != nil {
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
