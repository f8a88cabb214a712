package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

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
6, and blocks new runs of that instance until it succeeds, or until --acknowledge says that a person has done it.`,
		Example: "  holdstill recover\n  holdstill recover shop --acknowledge",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			instances, err := a.instancesLeft(args)
			if err != nil {
				return err
			}
			return a.recoverAll(cmd.Context(), instances, len(args) > 0, acknowledge)
		},
	}
	cmd.Flags().BoolVar(&acknowledge, "acknowledge", false, "forget what cannot be taken back: a person did it")
	return cmd
}

// instancesLeft needs no configuration: the ledgers say whose they are.
func (a *app) instancesLeft(args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	left, err := undo.Leftovers(a.dirs.Runs(), "")
	if err != nil {
		return nil, err
	}
	var names []string
	seen := map[string]bool{}
	for _, l := range left {
		if !seen[l.Instance] {
			seen[l.Instance] = true
			names = append(names, l.Instance)
		}
	}
	return names, nil
}

func (a *app) recoverAll(ctx context.Context, instances []string, asked, acknowledge bool) error {
	taken := []map[string]string{}
	var all []error
	for _, name := range instances {
		err := func() error {
			held, err := lock.Take(a.dirs.Run, lockName(name))
			if errors.Is(err, lock.ErrBusy) && !asked {
				a.log.Info("Not touched: " + err.Error())
				return nil
			}
			if err != nil {
				return err
			}
			defer held.Close()
			if acknowledge {
				return a.acknowledge(name)
			}
			deeds, err := a.takeBack(ctx, name)
			if err == nil && strings.HasPrefix(name, runPrefix) {
				err = os.Remove(held.Path()) // nobody else will ever lock it
			}
			for _, d := range deeds {
				taken = append(taken, map[string]string{"instance": name, "stage": d.Stage, "title": d.Title})
			}
			return err
		}()
		all = append(all, err)
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"taken_back": taken})
	}
	if len(taken) == 0 {
		return a.say(nil, "nothing was left behind")
	}
	for _, t := range taken {
		fmt.Fprintf(a.stdout, "taken back: %s (%s)\n", t["title"], t["instance"])
	}
	return nil
}

// lockName serves ledgers whose first line was torn: they belong to nobody in particular, and promised nothing.
func lockName(instance string) string {
	if instance == "" {
		return "unnamed"
	}
	return instance
}

// takeBack undoes what dead runs of the instance left. The caller holds the instance's lock, so they are dead.
func (a *app) takeBack(ctx context.Context, instance string) ([]undo.Deed, error) {
	left, err := undo.Leftovers(a.dirs.Runs(), instance)
	if err != nil {
		return nil, err
	}
	var deeds []undo.Deed
	var all []error
	for i := len(left) - 1; i >= 0; i-- {
		l := left[i]
		for _, d := range l.Open {
			a.log.Warn("Left behind: "+d.Title, "run", l.Run, "stage", d.Stage)
		}
		taken, err := l.TakeBack(ctx, wire.Registry(), a.catalogue().Has, a.log)
		deeds = append(deeds, taken...)
		all = append(all, err)
	}
	return deeds, stuck(errors.Join(append(all, a.sweepEvidence(left))...))
}

// stuck adds the hints of everything that could not be taken back.
func stuck(err error) error {
	var hints []string
	for _, s := range allStuck(err) {
		if h := s.Hint(); h != "" {
			hints = append(hints, h)
		}
	}
	if len(hints) == 0 {
		return err
	}
	hints = append(hints, "then: holdstill recover (or, if that is not possible, holdstill recover --acknowledge)")
	return withHint{err, strings.Join(hints, "; ")}
}

func allStuck(err error) []*undo.Stuck {
	switch e := err.(type) {
	case nil:
		return nil
	case *undo.Stuck:
		return []*undo.Stuck{e}
	case interface{ Unwrap() []error }:
		var out []*undo.Stuck
		for _, inner := range e.Unwrap() {
			out = append(out, allStuck(inner)...)
		}
		return out
	}
	return nil
}

func (a *app) acknowledge(instance string) error {
	left, err := undo.Leftovers(a.dirs.Runs(), instance)
	if err != nil {
		return err
	}
	for _, l := range left {
		if err := l.Acknowledge(); err != nil {
			return err
		}
		for _, d := range l.Open {
			a.log.Warn("Acknowledged, not taken back: "+d.Title, "run", l.Run)
		}
	}
	return nil
}

// sweepEvidence removes the guard's evidence of runs that are over; their ledgers are gone or say so.
func (a *app) sweepEvidence(left []undo.Left) error {
	var all []error
	for _, l := range left {
		err := os.Remove(filepath.Join(a.dirs.Run, l.Run+".freeze"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}
