package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/schema"
)

// scratchFlags say which point a scratch server is made of, and where.
type scratchFlags struct {
	copyFlags
	until untilFlags
	dir   string
	only  []schema.Name // the tables that count, if not all
}

func (f *scratchFlags) register(cmd *cobra.Command) {
	f.registerSource(cmd)
	f.until.register(cmd)
	f.registerPlace(cmd)
}

// registerPlace adds what tells where a scratch server lives.
func (f *scratchFlags) registerPlace(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "scratch-dir", "/var/tmp", "where the scratch server's directory is made; of a point that cannot be branched, what the server opens for writing is copied there")
}

// withScratch starts a scratch server on a point, or on a moment after it, and takes it away after do.
func (a *app) withScratch(ctx context.Context, f *scratchFlags, name string, do func(context.Context, *restore.Scratch) error) error {
	s := &stock{app: a}
	defer s.close()
	p, err := a.find(ctx, s, name, f.instance)
	if err != nil {
		return err
	}
	return a.scratchOf(ctx, s, f, p, do)
}

// scratchOf is withScratch for a point that was found.
func (a *app) scratchOf(ctx context.Context, s *stock, f *scratchFlags, p *catalog.Point, do func(context.Context, *restore.Scratch) error) error {
	if err := f.until.check(); err != nil {
		return err
	}
	if err := needsServer(p); err != nil {
		return err
	}
	if p.Status == catalog.Expired {
		return fmt.Errorf("point %s is being removed: %w", p.ID, catalog.ErrNotFound)
	}
	if err := f.checkPlace(); err != nil {
		return err
	}
	way, err := a.way(ctx, &f.until, p)
	if err != nil {
		return err
	}
	run, done, err := a.begin(ctx, "")
	if err != nil {
		return err
	}
	defer done()
	r := f.request
	r.Point, r.Scratch = p, filepath.Join(f.dir, "holdstill-scratch-"+run.ID)
	deps, account, err := a.restoring(ctx, s, &f.copyFlags, &r.Point, "", run.ID, false)
	if err != nil {
		return err
	}
	r.Account = account
	if way != nil {
		r.Onward = pitr.OnwardFor(way, f.only, deps, &pitr.Moment{})
	}
	begun := time.Now()
	_, err = restore.WithScratch(ctx, run, r, deps, func(ctx context.Context, server *restore.Scratch) error {
		a.log.Info(fmt.Sprintf("The scratch server is ready after %s", time.Since(begun).Round(time.Millisecond)), "stage", "scratch")
		return do(ctx, server)
	})
	if err != nil {
		return refused(errors.Join(err, run.Unwind(ctx)))
	}
	return nil
}

func (f *scratchFlags) checkPlace() error {
	info, err := os.Stat(f.dir)
	switch {
	case !filepath.IsAbs(f.dir) || strings.ContainsAny(f.dir, `:,\`):
		return usagef("--scratch-dir %s: give an absolute path without colons, commas and backslashes", f.dir)
	case err != nil || !info.IsDir():
		return usagef("--scratch-dir %s: there is no such directory", f.dir)
	}
	return nil
}
