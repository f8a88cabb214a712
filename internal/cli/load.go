package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/load"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// loadFlags say which dump tables come from. Which tables, and where they go, the flags for tables say.
type loadFlags struct {
	dir     string
	threads int
	restart bool
}

func (f *loadFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "from-dump", "", "DIR with a dump (of Holdstill, or files of mysqldump: .sql, .sql.gz, .sql.zst), or POINT, whose dump is used (latest: of --into, or of --instance): load --table or --database from it")
	flags.IntVar(&f.threads, "threads", 0, "with --from-dump: tables at once (default: one a processor, 2 to 8)")
	flags.BoolVar(&f.restart, "restart", false, "with --from-dump: do not go on with what an interrupted load left, begin anew")
}

// runLoad loads tables of a dump into a running server.
func (a *app) runLoad(ctx context.Context, f *loadFlags, t *tableFlags, instance string, args []string, until *untilFlags) error {
	wanted, err := t.request()
	switch {
	case err != nil:
		return err
	case len(args) > 0:
		return usagef("say POINT or --from-dump POINT, not both")
	case until.wanted():
		return usagef("a dump is of one moment: restore a later one from a point, without --from-dump")
	case !t.wanted():
		return usagef("say which tables: --table DB.TABLE or --database DB")
	case f.threads < 0 || f.threads > 64:
		return usagef("--threads must be 1 to 64")
	}
	r := load.Request{Tables: wanted.Tables, Database: wanted.Database, As: wanted.As, Threads: f.threads, Restart: f.restart}
	if r.Threads == 0 {
		r.Threads = load.DefaultThreads()
	}
	p := &catalog.Point{}
	if r.Dir, p.Instance, err = a.dumpAt(f.dir, instance, t, r); err != nil {
		return err
	}
	live, done, err := a.liveFor(ctx, t, p)
	if err != nil {
		return err
	}
	defer done()
	result, err := a.loadInto(ctx, r, live)
	if err != nil {
		return unloaded(err)
	}
	return a.printLoaded(result)
}

// dumpAt finds the directory: as it is named, or that of a point's dumps, with the point's instance.
func (a *app) dumpAt(name, of string, t *tableFlags, r load.Request) (dir, instance string, err error) {
	if _, err := os.Stat(name); err == nil {
		if dir, err = filepath.Abs(name); err != nil {
			return "", "", err
		}
		switch {
		case t.into == "":
			return "", "", usagef("say where the tables go: --into INSTANCE")
		case of != "":
			return "", "", usagef("--instance says of which instance a point is, and %s is no point; --into says where the tables go", name)
		}
		return dir, "", nil
	}
	if strings.ContainsRune(name, '/') {
		return "", "", notThere{fmt.Errorf("there is no dump %s", name)}
	}
	if of, err = a.whose(name, of, t.into); err != nil {
		return "", "", err
	}
	p, err := a.catalogue().Find(name, of)
	if err != nil {
		return "", "", notOf(err, name, of)
	}
	if dir := bestDump(p, r); dir != "" {
		return dir, p.Instance, nil
	}
	return "", "", withHint{notThere{fmt.Errorf("point %s has no dump on this machine", p.ID)},
		"holdstill dump " + p.ID + " --out DIR; or restore the tables from the point itself, without --from-dump"}
}

// bestDump is the directory that has the most of what is wanted, the newest of several: a point can have dumps of a few tables beside those of all.
func bestDump(p *catalog.Point, r load.Request) (best string) {
	has, most := map[string]int{}, -1
	var dirs []string // the newest first
	for _, d := range slices.Backward(p.Dumps) {
		if _, err := os.Stat(d.File); err != nil {
			continue
		}
		dir := filepath.Dir(d.File)
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		if r.Database == d.Database || slices.Contains(r.Tables, schema.Name{Database: d.Database, Table: d.Table}) {
			has[dir]++
		}
	}
	for _, dir := range dirs {
		if has[dir] > most {
			best, most = dir, has[dir]
		}
	}
	return best
}

// loadInto is the load, in a run of its own.
func (a *app) loadInto(ctx context.Context, r load.Request, live swap.Live) (*load.Result, error) {
	run, done, err := a.begin(ctx, "")
	if err != nil {
		return nil, err
	}
	defer done()
	tell, end := a.loadProgress()
	defer end()
	result, err := load.Load(ctx, run, r, live, load.Deps{Log: a.log, Tell: tell})
	if err != nil {
		return nil, errors.Join(err, run.Unwind(ctx))
	}
	return result, nil
}

// loadProgress draws a bar with the time that is left on a terminal, and is silent elsewhere.
func (a *app) loadProgress() (tell func(load.Event), end func()) {
	if a.json || !isTerminal(a.stderr) {
		return nil, func() {}
	}
	bar := a.bytesBar("load")
	return func(e load.Event) {
			bar.ChangeMax64(max(e.Total, 1))
			_ = bar.Set64(e.Done)
		}, func() {
			_ = bar.Exit()
			fmt.Fprintln(a.stderr)
		}
}

// unloaded gives the refusals their exit codes.
func unloaded(err error) error {
	var refusal *load.Refusal
	var absent *schema.AbsentError
	var late *swap.Refusal
	switch {
	case errors.As(err, &refusal), errors.As(err, &late):
		return usageError{err}
	case errors.As(err, &absent):
		return notThere{err}
	}
	return err
}

func (a *app) printLoaded(r *load.Result) error {
	if a.json {
		return a.printJSON(r)
	}
	w := a.stdout
	heading(w, fmt.Sprintf("Loaded %s of %s into %s", counted(len(r.Tables), "table"), r.Directory, r.Instance))
	t := newTable(w)
	for _, one := range r.Tables {
		said := one.Checked
		if one.Before {
			said += " (loaded before)"
		}
		t.row(printable(one.To.String()), humanize.Comma(one.Rows)+" rows", printable(said), fmt.Sprintf("%.1f s", one.MS/1000))
	}
	for _, c := range r.Code {
		t.row(printable(c), "made")
	}
	t.flush()
	for _, one := range r.Tables {
		for _, change := range one.Changes {
			fmt.Fprintf(w, "translated: %s: %s\n", printable(one.To.String()), printable(change))
		}
	}
	a.printAside(r.Swap)
	printWarnings(w, append(r.Warnings, r.Swap.Warnings...))
	return nil
}
