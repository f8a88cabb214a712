package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
	"github.com/holdstill/holdstill/internal/tables"
	"github.com/holdstill/holdstill/internal/wire"
)

// tableFlags say which tables go into which running server.
type tableFlags struct {
	tables    []string
	database  string
	into      string
	as        string
	localOnly bool
	way       string
	patience  time.Duration
	scratch   string
}

func (f *tableFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.tables, "table", nil, "DB.TABLE of the point or the dump, into a running server (can be given several times)")
	flags.StringVar(&f.database, "database", "", "a database of the point or the dump, with its views, routines, triggers and events, into a running server")
	flags.StringVar(&f.into, "into", "", "the instance that gets them (default: the point's own; a directory of --from-dump has none)")
	flags.StringVar(&f.as, "as", "", "another name for the table (DB.TABLE) or the database (DB), which must not exist yet")
	flags.BoolVar(&f.localOnly, "local-only", false, "keep the tables out of the server's binary log: fast, but its replicas and archived logs do not get them")
	flags.StringVar(&f.way, "way", "auto", "auto, files (take over the table's files) or load (dump and load)")
	flags.DurationVar(&f.patience, "patience", time.Minute, "how long to wait for a live table that is in use, by waits of a second")
	flags.StringVar(&f.scratch, "scratch-dir", "/var/tmp", "where the scratch server's directory is made")
}

// wanted tells whether tables are named.
func (f *tableFlags) wanted() bool { return len(f.tables) > 0 || f.database != "" }

// request reads the names.
func (f *tableFlags) request() (tables.Request, error) {
	r := tables.Request{LocalOnly: f.localOnly}
	switch f.way {
	case "auto":
	case "files", "load":
		r.Way = tables.Way(f.way)
	default:
		return r, usagef("--way must be auto, files or load, not %q", f.way)
	}
	if len(f.tables) > 0 && f.database != "" {
		return r, usagef("say --table or --database, not both")
	}
	for _, text := range f.tables {
		name, err := schema.ParseTable(text)
		if err != nil {
			return r, usageError{err}
		}
		r.Tables = append(r.Tables, name)
	}
	if f.database != "" {
		name, err := schema.ParseName(f.database)
		if err == nil && name.Table != "" {
			err = fmt.Errorf("--database %s names a table; say --table", f.database)
		}
		if err != nil {
			return r, usageError{err}
		}
		r.Database = name.Database
	}
	if f.as == "" {
		return r, nil
	}
	name, err := schema.ParseName(f.as)
	if err == nil && (name.Table == "") != (r.Database != "") {
		err = errors.New("--as takes DB.TABLE with --table, and DB with --database")
	}
	if err != nil {
		return r, usageError{err}
	}
	r.As = name
	return r, nil
}

// runTables restores tables or a database into a running server.
func (a *app) runTables(ctx context.Context, f *copyFlags, until *untilFlags, t *tableFlags, point string) error {
	r, err := t.request()
	if err != nil {
		return err
	}
	s := &stock{app: a}
	defer s.close()
	p, err := a.pointFor(ctx, s, f, until, t, point)
	if err != nil {
		return err
	}
	live, done, err := a.liveFor(ctx, t, p)
	if err != nil {
		return err
	}
	defer done()
	scratch := &scratchFlags{copyFlags: *f, until: *until, dir: t.scratch, only: r.Tables}
	var result *tables.Result
	err = a.scratchOf(ctx, s, scratch, p, func(ctx context.Context, server *restore.Scratch) error {
		defer done() // the scratch server goes when others have the instance again
		result, err = a.bring(ctx, r, server, live)
		return err
	})
	if err != nil {
		return tablesRefused(err, p)
	}
	return a.printBrought(result)
}

// pointFor finds the point: the named one, or the newest with a way to the moment.
func (a *app) pointFor(ctx context.Context, s *stock, f *copyFlags, until *untilFlags, t *tableFlags, name string) (*catalog.Point, error) {
	if name != "" {
		of, err := a.whose(name, f.instance, t.into)
		if err != nil {
			return nil, err
		}
		p, err := a.find(ctx, s, name, of)
		return p, notOf(err, name, of)
	}
	instance := f.instance
	if instance == "" {
		instance = t.into
	}
	if err := until.check(); err != nil {
		return nil, err
	}
	p, _, err := a.nearest(ctx, until, instance)
	return p, err
}

// whose tells of which instance a point is meant: latest is the newest of one instance, and rows of another one must not go live by chance.
func (a *app) whose(name, instance, into string) (string, error) {
	if instance != "" || !catalog.Relative(name) {
		return instance, nil
	}
	if into != "" {
		return into, nil
	}
	points, err := a.catalogue().List("")
	if err != nil {
		a.log.Warn(err.Error())
	}
	have := map[string]bool{}
	for _, p := range points {
		have[p.Instance] = have[p.Instance] || p.Status != catalog.Expired
	}
	if len(have) > 1 {
		return "", usagef("%s of which instance? %s have restore points: say --instance", name, strings.Join(slices.Sorted(maps.Keys(have)), ", "))
	}
	return "", nil
}

// notOf says whose points were looked at.
func notOf(err error, name, instance string) error {
	if instance == "" || !catalog.Relative(name) || !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	return withHint{fmt.Errorf("%s: %w", instance, err), "--instance NAME takes a point of another instance; holdstill points list shows them"}
}

// liveFor opens the server that gets the tables, and asks it what must be known of it. The function lets go of it, and may be called again.
func (a *app) liveFor(ctx context.Context, t *tableFlags, p *catalog.Point) (swap.Live, func(), error) {
	into := t.into
	if into == "" {
		into = p.Instance
	}
	i, err := a.instance(ctx, []string{into})
	if err != nil {
		return swap.Live{}, nil, err
	}
	server, endpoint, err := wire.OpenInstance(ctx, i, a.dirs.Run, a.log)
	if err != nil {
		return swap.Live{}, nil, err
	}
	defer func() { _ = server.Close() }()
	facts, err := server.Facts(ctx)
	if err != nil {
		return swap.Live{}, nil, fmt.Errorf("cannot learn the facts of %s: %w", i.Name, err)
	}
	if facts.Product == database.Scripts {
		return swap.Live{}, nil, usagef("%s is held by scripts: it has no tables that holdstill knows", i.Name)
	}
	endpoint.Product = facts.Product
	db, err := wire.Pool(ctx, endpoint)
	if err != nil {
		return swap.Live{}, nil, err
	}
	hold := &instanceHold{app: a, instance: i.Name, patience: t.patience}
	live := swap.Live{Instance: i.Name, DB: db, Endpoint: endpoint, Replica: facts.Role == database.Replica, LocalOnly: t.localOnly, Patience: t.patience,
		Hold: hold.take, Replaced: a.dirs.Replaced(), Log: a.log}
	if facts.Process.PID > 0 { // else it runs elsewhere, or in a container
		for _, path := range facts.Paths {
			if path.Purpose == database.DataDir {
				live.Datadir = path.Path
			}
		}
	}
	return live, func() {
		hold.release()
		_ = db.Close()
	}, nil
}

// bring is the restore itself, in a run of its own: the scratch server has another one.
func (a *app) bring(ctx context.Context, r tables.Request, server *restore.Scratch, live swap.Live) (*tables.Result, error) {
	run, done, err := a.begin(ctx, "")
	if err != nil {
		return nil, err
	}
	defer done()
	source := tables.Source{DB: server.DB, Datadir: server.Datadir, Point: server.Point.ID}
	result, err := tables.Restore(ctx, run, r, source, live, tables.Deps{Log: a.log, Load: a.loader(server, live)})
	if err != nil {
		return nil, errors.Join(err, run.Unwind(ctx))
	}
	return result, nil
}

// tablesRefused gives the refusals their exit codes.
func tablesRefused(err error, p *catalog.Point) error {
	var absent *schema.AbsentError
	var refusal *tables.Refusal
	var late *swap.Refusal
	switch {
	case errors.As(err, &absent):
		return withHint{fmt.Errorf("point %s: %w: %w", p.ID, err, catalog.ErrNotFound), "holdstill points show " + p.ID + " --tables lists them"}
	case errors.As(err, &refusal), errors.As(err, &late):
		return usageError{err}
	}
	return err
}

func (a *app) printBrought(r *tables.Result) error {
	if a.json {
		return a.printJSON(r)
	}
	w := a.stdout
	heading(w, fmt.Sprintf("Restored %s of point %s into %s", counted(len(r.Tables), "table"), r.Point, r.Instance))
	t := newTable(w)
	for _, one := range r.Tables {
		how := string(one.Way)
		if one.Bytes > 0 {
			how += ", " + humanize.IBytes(uint64(one.Bytes))
		}
		if one.Reason != "" {
			how += " (" + one.Reason + ")"
		}
		t.row(printable(one.To.String()), printable(how), fmt.Sprintf("%.1f s", one.MS/1000))
	}
	for _, c := range r.Code {
		t.row(printable(c), "made")
	}
	t.flush()
	a.printAside(r.Swap)
	printWarnings(w, append(r.Warnings, r.Swap.Warnings...))
	return nil
}

// printAside tells where what was replaced is, and how to go on.
func (a *app) printAside(r *swap.Result) {
	if len(r.Code) > 0 {
		fmt.Fprintf(a.stdout, "How these were before is kept in %s, a script for the server's client:\n  %s\n", r.CodeFile, printable(strings.Join(r.Code, ", ")))
	}
	if r.Confirm == "" {
		return
	}
	fmt.Fprintf(a.stdout, "The replaced tables are kept in the database %s. When you no longer need them:\n  %s;\n", r.Aside[0].Is.Database, r.Confirm)
	fmt.Fprintln(a.stdout, "To go back to them:\n  "+strings.Join(r.Back, ";\n  ")+";")
}
