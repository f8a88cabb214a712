package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/holdstill/holdstill/internal/dump"
	"github.com/holdstill/holdstill/internal/load"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
	"github.com/holdstill/holdstill/internal/tables"
)

// loader dumps tables of a scratch server and loads them into the live one as they come, for those whose files cannot be taken over.
func (a *app) loader(server *restore.Scratch, live swap.Live) tables.Loader {
	source := dump.Source{DB: server.DB, Endpoint: server.Endpoint, Program: server.Program.Path}
	return func(ctx context.Context, staging string, wanted []tables.Loaded) ([]string, error) {
		var names []schema.Name
		for _, w := range wanted {
			names = append(names, w.From)
		}
		stream, err := dump.Open(ctx, source, names, a.log)
		if err != nil {
			return nil, err
		}
		held, err := schema.Read(ctx, live.DB)
		if err != nil {
			return nil, err
		}
		changes := make([][]string, len(wanted))
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(load.DefaultThreads())
		for i, w := range wanted {
			group.Go(func() (err error) {
				changes[i], err = a.pass(ctx, stream, server, live, held, staging, w)
				return err
			})
		}
		return slices.Concat(append([][]string{stream.Warnings}, changes...)...), group.Wait()
	}
}

// pass brings one table over, and compares; it tells what is written otherwise there.
func (a *app) pass(ctx context.Context, stream *dump.Stream, server *restore.Scratch, live swap.Live, held *schema.Server, staging string, w tables.Loaded) (changes []string, err error) {
	a.log.Info(fmt.Sprintf("Loading table %s from a dump of the point...", w.From))
	out, in := io.Pipe()
	past := false
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		_, past, err = stream.Write(inner, w.From, in)
		return errors.Join(err, in.CloseWithError(err))
	})
	group.Go(func() error {
		s := load.Streamed{In: out, From: w.From, Product: stream.Held.Product, Schema: staging, As: w.Staged, LocalOnly: live.LocalOnly,
			Unnamed: w.Unnamed, Sequences: w.Sequences}
		if t := stream.Held.Table(w.From); t != nil {
			s.Bytes = t.DataBytes
		}
		loaded, err := load.Stream(inner, live.DB, held, s)
		if err == nil {
			for _, change := range loaded.Changes {
				changes = append(changes, fmt.Sprintf("%s: %s", w.From, change))
				a.log.Warn(changes[len(changes)-1])
			}
		}
		return errors.Join(err, out.CloseWithError(err))
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	other := stream.Held.Product != held.Product
	want, err := schema.SumOf(ctx, server.DB, w.From, past && !other)
	if err != nil {
		return nil, err
	}
	got, err := schema.SumOf(ctx, live.DB, schema.Name{Database: staging, Table: w.Staged}, past && !other)
	if err != nil {
		return nil, err
	}
	_, err = load.Same(w.From, want, got, other)
	return changes, err
}
