package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/dump"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/undo"
	"github.com/holdstill/holdstill/internal/wire"
)

// ofLive are the flags of dump that belong to a live one.
var ofLive = []string{"live", "instance", "out", "compression", "tool"}

// runDumpLive dumps the running server; all arguments are names.
func (a *app) runDumpLive(cmd *cobra.Command, f *dumpFlags, names []string) error {
	ctx := cmd.Context()
	if err := onlyFlags(cmd, ofLive, "--%s says nothing beside --live: one transaction of the running server is dumped by one process"); err != nil {
		return err
	}
	r, err := f.wanted(names)
	if err != nil {
		return err
	}
	i, err := a.instance(ctx, []string{f.instance})
	if err != nil {
		return err
	}
	m, err := a.dumpServer(ctx, i, f.tool, r)
	if err != nil {
		return err
	}
	return a.printDump(r.Dir, m)
}

// dumpServer dumps a running server. Its lock is held only as long as its commits are, so backups go on beside a long dump.
func (a *app) dumpServer(ctx context.Context, i *config.Instance, tool string, r dump.Request) (*dumpfile.Manifest, error) {
	if err := dump.CheckDir(r.Dir); err != nil {
		return nil, undumped(err)
	}
	server, endpoint, err := wire.OpenInstance(ctx, i, a.dirs.Run, a.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Close() }()
	facts, err := server.Facts(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot learn the facts of %s: %w", i.Name, err)
	}
	if facts.Product == database.Scripts {
		return nil, usagef("%s is held by scripts: it has no tables that holdstill knows", i.Name)
	}
	endpoint.Product = facts.Product
	db, err := wire.Pool(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	tell, end := a.dumpProgress()
	defer end()
	r.Instance, r.Warnings = i.Name, inexact(facts)
	src := dump.Source{DB: db, Endpoint: endpoint, Program: facts.Process.Executable, Tool: tool}
	still := dump.Still{Server: server, Begin: a.oneHold(i.Name), MaxStall: duration(i.MaxStall), Patience: duration(i.Patience)}
	m, err := dump.Live(ctx, src, r, still, dump.Deps{Log: a.log, Tell: tell})
	return m, undumped(err)
}

// oneHold opens a ledger for one hold. While another run has the instance, the server counts as busy.
func (a *app) oneHold(instance string) func(context.Context) (*undo.Run, func(), error) {
	return func(ctx context.Context) (*undo.Run, func(), error) {
		run, done, err := a.begin(ctx, instance)
		if isBusy(err) {
			err = fmt.Errorf("%w: %w", database.ErrBusy, err)
		}
		return run, done, err
	}
}

// inexact tells where a replica's coordinates are less than exact while its applier runs.
func inexact(f *database.Facts) (out []string) {
	for _, c := range f.Channels {
		if f.ApplierWorkers > 0 && !c.AutoPosition {
			out = append(out, fmt.Sprintf("the applier of %s:%d is parallel and does not follow by GTID: its file and offset in this dump lag behind the rows", c.Host, c.Port))
		}
	}
	if f.TempTables > 0 {
		out = append(out, fmt.Sprintf("the applier has %d temporary tables open: a replica that is made of this dump does not have them", f.TempTables))
	}
	return out
}

// dumpLiveAfter dumps the running server after a backup, as its instance is configured: to the configured directory, by the dump's own
// moment. While it is written it has one name, so what a killed dump left is cleared by the next. The point does not tell of it: it
// is not the point's content.
func (a *app) dumpLiveAfter(ctx context.Context, i *config.Instance) (print func() error, err error) {
	parent := i.Dump.Directory
	if parent == "" {
		parent = a.dirs.DumpsOf(i.Name)
	}
	f := &dumpFlags{out: filepath.Join(parent, i.Name+"-live-unfinished"), compression: i.Dump.Compression}
	r, err := f.wanted(i.Dump.Databases)
	if err == nil {
		err = a.nameLive(i.Name, f.out) // a whole one, if a run was killed right before this
	}
	var m *dumpfile.Manifest
	if err == nil {
		m, err = a.dumpServer(ctx, i, i.Dump.Tool, r)
	}
	if err == nil {
		err = a.nameLive(i.Name, f.out)
	}
	if err != nil {
		err = onlyHere{fmt.Errorf("the point is recorded, but the dump of the live server failed: %w", err)}
		if hintOf(err) == "" {
			err = withHint{err, "holdstill dump --live --out DIR --instance " + i.Name}
		}
		return nil, err
	}
	return func() error { return a.printLiveDump(liveName(i.Name, parent, m), m) }, nil
}

func liveName(instance, parent string, m *dumpfile.Manifest) string {
	return filepath.Join(parent, instance+"-live-"+m.Moment.UTC().Format("20060102-150405.000"))
}

// nameLive gives a whole dump the name of its moment.
func (a *app) nameLive(instance, dir string) error {
	m, err := dumpfile.ReadManifest(dir)
	if err != nil || !m.Live {
		return nil //nolint:nilerr // there is none, or one to begin again
	}
	if err := os.Rename(dir, liveName(instance, filepath.Dir(dir), m)); err != nil {
		return fmt.Errorf("cannot give the dump its name: %w", err)
	}
	return durable.SyncDir(filepath.Dir(dir))
}

// printLiveDump tells of a dump that a backup made beside its point.
func (a *app) printLiveDump(dir string, m *dumpfile.Manifest) error {
	a.log.Info(fmt.Sprintf("The live server is dumped to %s, as of %s: that is not the point's content", dir, m.Moment.UTC().Format(time.RFC3339)))
	if a.json {
		return nil // the point is the document; the manifest is in the directory
	}
	return a.printDump(dir, m)
}
