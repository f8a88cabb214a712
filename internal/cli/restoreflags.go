package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// restoreFlags are those of restore, which does four things.
type restoreFlags struct {
	copyFlags
	until   untilFlags
	tables  tableFlags
	load    loadFlags
	further string // the copy that --continue names
}

// doing tells which of the four is asked for, and refuses what does not belong to it before anything is touched.
func (f *restoreFlags) doing(cmd *cobra.Command, args []string) (func(*app, context.Context) error, error) {
	point := strings.Join(args, "")
	switch given := cmd.Flags().Changed; {
	case given("continue"):
		return func(a *app, ctx context.Context) error {
			return a.runContinue(ctx, &f.copyFlags, &f.until, f.further)
		}, checkContinue(cmd, args, &f.until)
	case given("from-dump"):
		return func(a *app, ctx context.Context) error {
			return a.runLoad(ctx, &f.load, &f.tables, f.instance, args, &f.until)
		}, checkLoad(cmd)
	case f.tables.wanted():
		return func(a *app, ctx context.Context) error {
			return a.runTables(ctx, &f.copyFlags, &f.until, &f.tables, point)
		}, cmp.Or(checkTables(cmd), f.someMoment(point))
	}
	return func(a *app, ctx context.Context) error {
		return a.runRestore(ctx, &f.copyFlags, &f.until, point)
	}, cmp.Or(checkCopy(cmd), f.someMoment(point))
}

// someMoment wants a point, or a moment by which one can be chosen.
func (f *restoreFlags) someMoment(point string) error {
	if point == "" && !f.until.wanted() {
		return usagef("name a point (an id, a unique prefix, latest), or a moment (--until-time, --until-gtid, --until-position)")
	}
	return nil
}

// A flag that would say nothing is refused and never ignored: who says --datadir wants the tables there, and not in place of the live ones.

// ofUntil are the flags that name a moment, and the way there.
var ofUntil = []string{"until-time", "until-gtid", "until-position", "before", "skip-gtid", "binlogs"}

// ofContinue are the flags of restore that say something where a copy is taken further.
var ofContinue = slices.Concat([]string{"continue", "config-dir", "start", "timeout"}, ofUntil)

// ofSource are those that say which copy of a point is used, and with which server.
var ofSource = []string{"instance", "disk", "from", "server", "upgrade", "timeout"}

// ofTarget are those for tables that go into a running server, wherever they come from.
var ofTarget = []string{"table", "database", "into", "as", "local-only", "patience"}

// ofTables are those for tables of a point, and ofLoad those for tables of a dump.
var (
	ofTables = slices.Concat(ofTarget, []string{"way", "scratch-dir"}, ofSource, ofUntil)
	ofLoad   = slices.Concat(ofTarget, []string{"from-dump", "threads", "restart", "instance"})
)

// ofCopies are those that make a data directory.
var ofCopies = slices.Concat([]string{"datadir", "config-dir", "port", "bind-address", "seed", "start", "in-place", "accept-position"}, ofSource, ofUntil)

// checkTables refuses what does not belong to tables that go into a running server.
func checkTables(cmd *cobra.Command) error {
	return onlyFlags(cmd, ofTables, "--%s says nothing about tables that go into a running server (--table, --database)")
}

// checkLoad refuses what does not belong to a dump. A moment does not either, but runLoad says more about that.
func checkLoad(cmd *cobra.Command) error {
	return onlyFlags(cmd, slices.Concat(ofLoad, ofUntil), "--%s says nothing about tables of a dump (--from-dump)")
}

// checkCopy refuses what does not belong to a data directory.
func checkCopy(cmd *cobra.Command) error {
	return onlyFlags(cmd, ofCopies, "--%s is for tables that go into a running server: say which, with --table DB.TABLE or --database DB")
}

// onlyFlags refuses the first flag that is given and does not belong; the global ones always do.
func onlyFlags(cmd *cobra.Command, belonging []string, says string) error {
	var wrong error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if wrong == nil && !slices.Contains(belonging, f.Name) && cmd.InheritedFlags().Lookup(f.Name) == nil {
			wrong = usagef(says, f.Name)
		}
	})
	return wrong
}
