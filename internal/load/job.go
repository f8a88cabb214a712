package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// job is a load under way.
type job struct {
	Request
	plan    *plan
	live    swap.Live
	deps    Deps
	landing *landing
	ended   atomic.Int64 // bytes of the files that are done
}

// all loads what is not loaded yet, several tables at once, the largest first.
func (j *job) all(ctx context.Context) error {
	if err := fault.At("load.begun"); err != nil {
		return err
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(j.Threads)
	running := &meters{}
	stop := j.watch(running)
	defer stop()
	for _, t := range j.plan.tables {
		group.Go(func() error {
			if inner.Err() != nil {
				return nil
			}
			return j.one(inner, t, running)
		})
	}
	return errors.Join(group.Wait(), ctx.Err())
}

// one loads a table, checks it and notes it.
func (j *job) one(ctx context.Context, t *table, running *meters) error {
	if was, done := j.landing.done[t.from.Table]; done && was.fits(t) {
		j.deps.Log.Info(fmt.Sprintf("%s is loaded already", t.from))
		was.Before, was.To = true, t.Target
		t.done = was
		j.ended.Add(t.bytes)
		return nil
	}
	j.deps.Log.Info(fmt.Sprintf("Loading table %s...", t.from))
	begun := time.Now()
	if err := j.landing.clear(ctx, j.live.DB, t.from.Table); err != nil {
		return err
	}
	loaded, err := j.read(ctx, t, running)
	if err != nil {
		return fmt.Errorf("cannot load %s from %s: %w", t.from, t.path, err)
	}
	if err := fault.At("load.half"); err != nil {
		return err
	}
	checked, rows, err := j.check(ctx, t, loaded)
	if err != nil {
		return fmt.Errorf("cannot load %s from %s: %w", t.from, t.path, err)
	}
	t.done = record{One{From: t.from, To: t.Target, Rows: rows, Checked: checked, Changes: loaded.Changes, MS: float64(time.Since(begun).Milliseconds())}, *loaded}
	if err := j.landing.note(ctx, j.live.DB, t.done); err != nil {
		return err
	}
	j.ended.Add(t.bytes)
	j.deps.Log.Info(fmt.Sprintf("%d rows of %s, %s", rows, t.from, checked))
	return fault.At("load.noted")
}

func (j *job) read(ctx context.Context, t *table, running *meters) (*Loaded, error) {
	in, progress, err := t.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	running.add(progress)
	defer running.remove(progress)
	text := &text{in: in, from: t.from, into: j.landing.schema, bytes: t.bytes, local: j.live.LocalOnly, translate: j.plan.translate,
		unnamed: t.Unnamed, waiting: true}
	loaded, err := text.load(ctx, j.live.DB)
	if err != nil && ctx.Err() == nil {
		var damaged *dumpfile.DamagedError // what was wrong in the text may be no more than that
		if _, rest := io.Copy(io.Discard, in); errors.As(rest, &damaged) {
			err = damaged
		}
	}
	return loaded, err
}

// check compares what is in the server with what the dump says. A dump that says nothing is compared with its own rows.
func (j *job) check(ctx context.Context, t *table, loaded *Loaded) (checked string, rows int64, err error) {
	here := schema.Name{Database: j.landing.schema, Table: t.from.Table}
	if t.kind == schema.Sequence {
		return "a sequence", 0, nil
	}
	sum, err := schema.SumOf(ctx, j.live.DB, here, t.past && j.plan.translate == nil)
	if err != nil {
		return "", 0, err
	}
	checked, err = compare(t, loaded.Rows, sum, j.plan.translate != nil)
	return checked, sum.Rows, err
}

// compare tells what is equal, or what is not. read are the rows that the text had.
func compare(t *table, read int64, got schema.Sum, otherProduct bool) (string, error) {
	differs := func(what string, want, is any) error {
		return fmt.Errorf("%s is not what was dumped: %s %v, and %v are in the server: the file is damaged, or the server changed what it was given", t.from, what, want, is)
	}
	wanted := read
	if t.rows >= 0 {
		wanted = t.rows
	}
	switch {
	case got.Rows != wanted || read != wanted:
		return "", differs("rows", wanted, fmt.Sprintf("%d (of %d in the file)", got.Rows, read))
	case t.sum == nil:
		return "row counts equal", nil
	case otherProduct:
		return comparePortable(t, got, differs)
	case got.Dumped() != t.sum.Dumped():
		return "", differs("checksum", t.sum.Dumped(), got.Dumped())
	case got.All != t.sum.All:
		return "row counts and checksums equal, but for the digits of FLOAT columns that the dump tool left out", nil
	}
	return "row counts and checksums equal", nil
}

// comparePortable compares the columns that both products write alike.
func comparePortable(t *table, got schema.Sum, differs func(string, any, any) error) (string, error) {
	want, is, said := t.sum.All, got.All, "row counts and checksums equal"
	if len(t.sum.Left) > 0 || len(got.Left) > 0 {
		if !slices.Equal(t.sum.Left, got.Left) {
			return "row counts equal", nil // a type became another one, and the sums are over other columns
		}
		want, is = t.sum.Portable, got.Portable
		said = fmt.Sprintf("row counts equal, and the checksums of all columns but %v", got.Left)
	}
	if want != is {
		return "", differs("checksum", want, is)
	}
	return said, nil
}
