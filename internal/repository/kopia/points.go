package kopia

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"

	"github.com/holdstill/holdstill/internal/repository"
)

// Points lists what is stored with a tag of ours, oldest first. One whose description is damaged is listed too: the others are not to
// suffer from it.
func (s *Store) Points(ctx context.Context) ([]repository.Stored, error) {
	manifests, err := s.manifests(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the points of %s: %w", s.settings.Location, meaning(err))
	}
	var out []repository.Stored
	for _, m := range manifests {
		stored, err := s.stored(ctx, m)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			stored.Unreadable = fmt.Errorf("cannot read the description of the point %s: %w", stored.Point, meaning(err))
		}
		out = append(out, stored)
	}
	slices.SortFunc(out, func(a, b repository.Stored) int {
		return cmp.Or(a.TakenAt.Compare(b.TakenAt), strings.Compare(a.Point, b.Point))
	})
	return out, nil
}

// manifests are the snapshots with our tag.
func (s *Store) manifests(ctx context.Context) ([]*snapshot.Manifest, error) {
	if err := s.repo.Refresh(ctx); err != nil {
		return nil, err
	}
	ids, err := snapshot.ListSnapshotManifests(ctx, s.repo, nil, nil)
	if err != nil {
		return nil, err
	}
	all, err := snapshot.LoadSnapshots(ctx, s.repo, ids)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(m *snapshot.Manifest) bool { return m == nil || m.Tags[pointTag] == "" }), nil
}

func (s *Store) stored(ctx context.Context, m *snapshot.Manifest) (repository.Stored, error) {
	out := repository.Stored{Handle: string(m.ID), Description: repository.Description{
		Point: m.Tags[pointTag], Instance: strings.TrimPrefix(m.Source.Path, "/"), Host: m.Source.Host,
		TakenAt: m.StartTime.ToTime().UTC(), Pinned: slices.Contains(m.Pins, pinName),
	}}
	id, err := object.ParseID(m.Tags[entryTag])
	if err != nil {
		return out, fmt.Errorf("%w: %w", repository.ErrDamaged, err)
	}
	out.Entry, err = read(ctx, s.repo, id)
	return out, err
}

// manifestsOf finds a point by its id, not by its handle, which another host may have replaced meanwhile. It is in the list once, or more
// often if two hosts described it at the same moment.
func (s *Store) manifestsOf(ctx context.Context, point string) ([]*snapshot.Manifest, error) {
	all, err := s.manifests(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the point %s: %w", point, meaning(err))
	}
	all = slices.DeleteFunc(all, func(m *snapshot.Manifest) bool { return m.Tags[pointTag] != point })
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: %w", point, repository.ErrNotThere)
	}
	slices.SortFunc(all, func(a, b *snapshot.Manifest) int { return b.EndTime.ToTime().Compare(a.EndTime.ToTime()) }) // the newest first
	return all, nil
}

// Remove takes the snapshot out of the list.
func (s *Store) Remove(ctx context.Context, p repository.Stored) error {
	all, err := s.manifestsOf(ctx, p.Point)
	if errors.Is(err, repository.ErrNotThere) {
		return nil
	}
	if err != nil {
		return err
	}
	err = repo.WriteSession(ctx, s.repo, repo.WriteSessionOptions{Purpose: "holdstill remove"}, func(ctx context.Context, w repo.RepositoryWriter) error {
		return deleteAll(ctx, w, all)
	})
	if err == nil {
		err = s.synced()
	}
	if err != nil {
		return fmt.Errorf("cannot remove the point %s from the repository: %w", p.Point, meaning(err))
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
