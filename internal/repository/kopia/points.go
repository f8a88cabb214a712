package kopia

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"
	"golang.org/x/sync/errgroup"

	"github.com/holdstill/holdstill/internal/repository"
)

// Points lists what is stored with a tag of ours, oldest first. One whose description is damaged is listed too: the others are not to
// suffer from it.
func (s *Store) Points(ctx context.Context) ([]repository.Stored, error) {
	manifests, err := s.manifests(ctx, pointTag)
	if err != nil {
		return nil, fmt.Errorf("cannot list the points of %s: %w", s.settings.Location, meaning(err))
	}
	return s.described(ctx, manifests, pointOf)
}

// described reads the descriptions, and puts them in order.
func (s *Store) described(ctx context.Context, manifests []*snapshot.Manifest, of func(*snapshot.Manifest) repository.Description) ([]repository.Stored, error) {
	var out []repository.Stored
	for _, m := range manifests {
		stored := repository.Stored{Handle: string(m.ID), Description: of(m)}
		err := s.entryOf(ctx, m, &stored)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			stored.Unreadable = fmt.Errorf("cannot read the description of %s: %w", named(stored.Kind, stored.Point), meaning(err))
		}
		out = append(out, stored)
	}
	slices.SortFunc(out, func(a, b repository.Stored) int {
		return cmp.Or(a.TakenAt.Compare(b.TakenAt), strings.Compare(a.Point, b.Point))
	})
	return out, nil
}

// manifests are the snapshots with one of our tags.
func (s *Store) manifests(ctx context.Context, tags ...string) ([]*snapshot.Manifest, error) {
	if err := s.repo.Refresh(ctx); err != nil {
		return nil, err
	}
	ids, err := snapshot.ListSnapshotManifests(ctx, s.repo, nil, nil)
	if err != nil {
		return nil, err
	}
	all := make([]*snapshot.Manifest, len(ids))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(loaders)
	for i, id := range ids {
		group.Go(func() (err error) {
			// kopia's LoadSnapshots leaves out what it cannot read: prune would take logs away that only such a point needs
			all[i], err = snapshot.LoadSnapshot(inner, s.repo, id)
			if errors.Is(err, snapshot.ErrSnapshotNotFound) { // removed meanwhile
				err = nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(m *snapshot.Manifest) bool {
		return m == nil || !slices.ContainsFunc(tags, func(tag string) bool { return m.Tags[tag] != "" })
	}), nil
}

// loaders is how many manifests are read at once, as many as kopia's own tools do.
const loaders = 50

// pointOf is what a snapshot itself says of its point.
func pointOf(m *snapshot.Manifest) repository.Description {
	return repository.Description{
		Point: m.Tags[pointTag], Instance: strings.TrimPrefix(m.Source.Path, "/"), Host: m.Source.Host,
		TakenAt: m.StartTime.ToTime().UTC(), Pinned: slices.Contains(m.Pins, pinName),
	}
}

func (s *Store) entryOf(ctx context.Context, m *snapshot.Manifest, into *repository.Stored) error {
	id, err := object.ParseID(m.Tags[entryTag])
	if err != nil {
		return fmt.Errorf("%w: %w", repository.ErrDamaged, err)
	}
	into.Entry, err = read(ctx, s.repo, id)
	return err
}

// manifestsOf finds a point by its id, not by its handle, which another host may have replaced meanwhile. It is in the list once, or more
// often if two hosts described it at the same moment.
func (s *Store) manifestsOf(ctx context.Context, kind repository.Kind, point string) ([]*snapshot.Manifest, error) {
	all, err := s.manifests(ctx, tagOf(kind))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", named(kind, point), meaning(err))
	}
	all = slices.DeleteFunc(all, func(m *snapshot.Manifest) bool { return m.Tags[tagOf(kind)] != point })
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: %w", point, repository.ErrNotThere)
	}
	slices.SortFunc(all, func(a, b *snapshot.Manifest) int { return b.EndTime.ToTime().Compare(a.EndTime.ToTime()) }) // the newest first
	return all, nil
}

// Remove takes the snapshot out of the list.
func (s *Store) Remove(ctx context.Context, p repository.Stored) error {
	all, err := s.manifestsOf(ctx, p.Kind, p.Point)
	if errors.Is(err, repository.ErrNotThere) {
		return s.dropTails(ctx, p.Description, math.MaxInt64)
	}
	if err != nil {
		return err
	}
	err = repo.WriteSession(ctx, s.repo, repo.WriteSessionOptions{Purpose: "holdstill remove"}, func(ctx context.Context, w repo.RepositoryWriter) error {
		return deleteAll(ctx, w, all)
	})
	if err == nil { // without the log they are nothing
		err = s.dropTails(ctx, p.Description, math.MaxInt64)
	}
	if err == nil {
		err = s.synced()
	}
	if err != nil {
		return fmt.Errorf("cannot remove %s from the repository: %w", named(p.Kind, p.Point), meaning(err))
	}
	return nil
}

func deleteAll(ctx context.Context, w repo.RepositoryWriter, all []*snapshot.Manifest) error {
	for _, m := range all {
		if err := w.DeleteManifest(ctx, m.ID); err != nil {
			return err
		}
	}
	return nil
}
