package kopia

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/manifest"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"

	"github.com/holdstill/holdstill/internal/repository"
)

// Points lists what is stored with a tag of ours, oldest first.
func (s *Store) Points(ctx context.Context) ([]repository.Stored, error) {
	manifests, err := s.manifests(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the points of %s: %w", s.settings.Location, meaning(err))
	}
	var out []repository.Stored
	var faults []error
	for _, m := range manifests {
		stored, err := s.stored(ctx, m)
		if err != nil {
			faults = append(faults, fmt.Errorf("cannot read the description of the point %s: %w", m.Tags[pointTag], err))
			continue
		}
		out = append(out, stored)
	}
	slices.SortFunc(out, func(a, b repository.Stored) int {
		return cmp.Or(a.TakenAt.Compare(b.TakenAt), strings.Compare(a.Point, b.Point))
	})
	return out, errors.Join(faults...)
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

// manifest finds a point by its handle, or by its id where another host described it anew meanwhile.
func (s *Store) manifest(ctx context.Context, p repository.Stored) (*snapshot.Manifest, error) {
	if p.Handle != "" {
		m, err := snapshot.LoadSnapshot(ctx, s.repo, manifest.ID(p.Handle))
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, snapshot.ErrSnapshotNotFound) {
			return nil, fmt.Errorf("cannot read the point %s: %w", p.Point, meaning(err))
		}
	}
	all, err := s.manifests(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the point %s: %w", p.Point, meaning(err))
	}
	for _, m := range all {
		if m.Tags[pointTag] == p.Point {
			return m, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", p.Point, repository.ErrNotThere)
}

// Remove takes the snapshot out of the list.
func (s *Store) Remove(ctx context.Context, p repository.Stored) error {
	m, err := s.manifest(ctx, p)
	if errors.Is(err, repository.ErrNotThere) {
		return nil
	}
	if err != nil {
		return err
	}
	err = repo.WriteSession(ctx, s.repo, repo.WriteSessionOptions{Purpose: "holdstill remove"}, func(ctx context.Context, w repo.RepositoryWriter) error {
		return w.DeleteManifest(ctx, m.ID)
	})
	if err != nil {
		return fmt.Errorf("cannot remove the point %s from the repository: %w", p.Point, meaning(err))
	}
	return nil
}
