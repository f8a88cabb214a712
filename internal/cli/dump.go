package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/dump"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/schema"
)

type dumpFlags struct {
	scratchFlags
	out, compression, tool string
	threads                int
	noChecksums, live      bool
}

func (a *app) dump() *cobra.Command {
	f := &dumpFlags{}
	cmd := &cobra.Command{
		Use:   "dump POINT|--live [DB[.TABLE]...] --out DIR",
		Short: "Per-table dumps, made from a restore point and not from the live server",
		Long: `Dump starts a scratch server on a writable copy of the point and lets the server's own dump tool write one file per table, several at
once, the largest first: mysqldump-DB-TABLE-YYYYMMDD-HHMM.sql.gz. Each begins with the point's coordinates. Beside them are files of the
definitions, views, routines, triggers, events, users and grants, and manifest.json with row counts and checksums. The live server is not touched.

Without names everything is dumped; DB means the whole database with its code, DB.TABLE one table with its triggers. A name that holds a dot
goes in backticks. A dump that was interrupted is gone on with by the same command.

With --live there is no POINT: the running server is dumped, for machines too small for a scratch server. All tables are read in one transaction
by one process, and commits are held only while it begins, inside the instance's max_stall. The dump has its own moment and coordinates, no checksums
of the content, and cannot be gone on with. Tables without transactions and changes of definitions are no part of a snapshot (docs/dumps.md).`,
		Example: `  holdstill dump latest --out /backup/dumps/monday
  holdstill dump latest shop blog.posts --out /backup/two --compression zstd
  holdstill dump 20261122-130000 'shop.orders' --out /tmp/orders --threads 4
  holdstill dump --live shop --out /backup/shop-now`,
		Args: usage(func(cmd *cobra.Command, args []string) error {
			if f.live {
				return nil
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.live {
				return a.runDumpLive(cmd, f, args)
			}
			return a.runDump(cmd.Context(), f, args[0], args[1:])
		},
	}
	f.registerSource(cmd)
	f.registerPlace(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.out, "out", "", "the directory of the dump: absent, empty, or with an unfinished dump of the same point")
	flags.IntVar(&f.threads, "threads", 0, "tables at once (default: one a processor, 2 to 4)")
	flags.StringVar(&f.compression, "compression", "gzip", "gzip, zstd or none")
	flags.BoolVar(&f.noChecksums, "no-checksums", false, "count the rows, but do not let the server sum up the content, which takes as long again")
	flags.BoolVar(&f.live, "live", false, "dump the running server in place of a point; all arguments are names of databases and tables")
	flags.StringVar(&f.tool, "tool", "", "the dump tool (default: the one beside the server's program, else one of PATH that can)")
	return cmd
}

// wanted reads what the flags and names say.
func (f *dumpFlags) wanted(names []string) (dump.Request, error) {
	r := dump.Request{Dir: f.out, Threads: f.threads, NoSums: f.noChecksums}
	if f.out == "" {
		return r, usagef("say where: --out DIR")
	}
	if f.threads < 0 || f.threads > 64 {
		return r, usagef("--threads must be 1 to 64")
	}
	var err error
	if r.Compression, err = dumpfile.ParseCompression(f.compression); err != nil {
		return r, usageError{err}
	}
	if r.Dir, err = filepath.Abs(f.out); err != nil {
		return r, err
	}
	for _, text := range names {
		n, err := schema.ParseName(text)
		if err != nil {
			return r, usageError{err}
		}
		if schema.Own(n.Database) {
			return r, usagef("%s is the server's own database: accounts are in the files users and grants of a dump of everything", n.Database)
		}
		r.Names = append(r.Names, n)
	}
	return r, nil
}

func (a *app) runDump(ctx context.Context, f *dumpFlags, name string, names []string) error {
	r, err := f.wanted(names)
	if err != nil {
		return err
	}
	s := &stock{app: a}
	defer s.close()
	p, err := a.find(ctx, s, name, f.instance)
	if err != nil {
		return err
	}
	m, err := a.dumpPoint(ctx, s, f, p, r)
	if err != nil {
		return err
	}
	return a.printDump(r.Dir, m)
}

// dumpPoint dumps a point from a scratch server, and notes the files in the point.
func (a *app) dumpPoint(ctx context.Context, s *stock, f *dumpFlags, p *catalog.Point, r dump.Request) (*dumpfile.Manifest, error) {
	r.Point, r.Instance, r.Moment, r.Position, r.Sources = p.ID, p.Instance, p.TakenAt, p.Position, p.Sources
	if err := dump.CheckDir(r.Dir); err != nil {
		return nil, undumped(err)
	}
	var m *dumpfile.Manifest
	err := a.scratchOf(ctx, s, &f.scratchFlags, p, func(ctx context.Context, server *restore.Scratch) (err error) {
		tell, end := a.dumpProgress()
		defer end()
		m, err = dump.Dump(ctx, dump.Source{DB: server.DB, Endpoint: server.Endpoint, Program: server.Program.Path, Tool: f.tool}, r, dump.Deps{Log: a.log, Tell: tell})
		return err
	})
	if err != nil {
		return nil, undumped(err)
	}
	a.noteDumps(p, r.Dir, m)
	return m, nil
}

// dumpAfter dumps a point that was just taken, as its instance is configured. The point stays, whatever happens.
func (a *app) dumpAfter(ctx context.Context, i *config.Instance, p *catalog.Point) error {
	d := i.Dump
	f := &dumpFlags{out: filepath.Join(d.Directory, p.ID), compression: d.Compression, tool: d.Tool, threads: d.Threads, noChecksums: d.NoChecksums}
	f.request.Timeout = time.Hour
	if f.dir = d.ScratchDir; f.dir == "" {
		f.dir = "/var/tmp"
	}
	r, err := f.wanted(d.Databases)
	if err == nil {
		s := &stock{app: a}
		defer s.close()
		_, err = a.dumpPoint(ctx, s, f, p, r)
	}
	if err != nil {
		again := "holdstill dump " + p.ID + " --out " + f.out
		return withHint{onlyHere{fmt.Errorf("point %s is recorded, but its dump failed: %w", p.ID, err)}, again}
	}
	return nil
}

// undumped gives a dump's refusals their exit codes.
func undumped(err error) error {
	var refusal *dump.Refusal
	var absent *schema.AbsentError
	switch {
	case errors.As(err, &refusal):
		return usageError{err}
	case errors.As(err, &absent):
		return withHint{notThere{err}, "holdstill points show POINT --tables lists what it holds"}
	}
	return err
}

// notThere has the exit code of what was not found.
type notThere struct{ error }

func (e notThere) Unwrap() error        { return e.error }
func (e notThere) Is(target error) bool { return target == catalog.ErrNotFound }

// noteDumps enters the tables' files into the point. That it cannot is no reason to call the dump a failure.
func (a *app) noteDumps(p *catalog.Point, dir string, m *dumpfile.Manifest) {
	now, release, err := a.ownPoint(p.ID, "")
	if err == nil {
		defer release()
		now.Dumps = append(stillThere(now.Dumps, dir), dumpsOf(dir, m)...)
		err = a.catalogue().Put(now)
		p.Dumps = now.Dumps
	}
	if err != nil {
		a.log.Warn("the dump is whole, but points show will not tell of it: "+err.Error(), "point", p.ID)
	}
}

// stillThere are the dumps in other directories whose files somebody has not removed since.
func stillThere(dumps []catalog.Dump, but string) []catalog.Dump {
	return slices.DeleteFunc(slices.Clone(dumps), func(d catalog.Dump) bool {
		_, err := os.Stat(d.File)
		return err != nil || filepath.Dir(d.File) == but
	})
}

func dumpsOf(dir string, m *dumpfile.Manifest) []catalog.Dump {
	out := []catalog.Dump{}
	for _, f := range m.Files {
		if f.Part == dumpfile.Rows {
			out = append(out, catalog.Dump{Database: f.Database, Table: f.Table, File: filepath.Join(dir, f.Name), Bytes: f.Bytes})
		}
	}
	return out
}

// dumpedIn counts a point's dumped tables by directory.
func dumpedIn(p *catalog.Point) map[string]int {
	out := map[string]int{}
	for _, d := range p.Dumps {
		out[filepath.Dir(d.File)]++
	}
	return out
}

func (a *app) printDump(dir string, m *dumpfile.Manifest) error {
	if a.json {
		return a.printJSON(struct {
			Directory string `json:"directory"`
			*dumpfile.Manifest
		}{dir, m})
	}
	var bytes, text, rows int64
	tables := 0
	for _, f := range m.Files {
		bytes, text = bytes+f.Bytes, text+f.Text
		if f.Part == dumpfile.Rows {
			tables, rows = tables+1, rows+f.InFile
		}
	}
	if m.Live {
		heading(a.stdout, "Dumped the running server "+m.Instance)
	} else {
		heading(a.stdout, "Dumped point "+m.Point)
	}
	t := newTable(a.stdout)
	t.row("directory", dir)
	if m.Live {
		t.row("moment", m.Moment.UTC().Format("2006-01-02 15:04:05.000 UTC"))
		t.row("position", printable(position(m.Position)))
	}
	t.row("tables", fmt.Sprintf("%d, %s rows", tables, humanize.Comma(rows)))
	t.row("size", fmt.Sprintf("%s, %s of SQL", humanize.IBytes(uint64(bytes)), humanize.IBytes(uint64(text))))
	t.row("by", printable(strings.TrimSpace(m.Tool)))
	t.flush()
	printWarnings(a.stdout, m.Warnings)
	return nil
}
