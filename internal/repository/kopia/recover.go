package kopia

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
)

// adoptable is how old a session may be: maintenance removes the packs of those that are older than four days.
const adoptable = 72 * time.Hour

// adopt finds the packs of sessions that ended without writing their index (the process was killed, the store went away), and
// writes it for them, so that nothing is uploaded twice. Each pack ends with an index of its own (kopia: content_index_recovery.go).
//
// A session of this host may be alive: another instance ships at the same time. Its packs are complete as soon as they are listed, and
// an index that names them twice is no fault. No pack holds a snapshot whose data are not confirmed (Commit), so nothing is published before its
// time. The markers stay: nobody can tell a dead session from one that lives, and maintenance removes them after four days.
func (s *Store) adopt(ctx context.Context) error {
	sessions, err := s.repo.ContentReader().ListActiveSessions(ctx)
	if err != nil {
		return err
	}
	ours := map[content.SessionID]bool{}
	for id, info := range sessions {
		if info.Host == s.settings.Host && info.User == userName && time.Since(info.CheckpointTime) < adoptable {
			ours[id] = true
		}
	}
	if len(ours) == 0 {
		return nil
	}
	lost, err := s.unindexed(ctx, ours)
	if err != nil || len(lost) == 0 {
		return err
	}
	return repo.DirectWriteSession(ctx, s.repo, repo.WriteSessionOptions{Purpose: "holdstill adopt"}, func(ctx context.Context, w repo.DirectRepositoryWriter) error {
		for _, m := range lost {
			if _, err := w.ContentManager().RecoverIndexFromPackBlob(ctx, m.BlobID, m.Length, true); err != nil && !errors.Is(err, blob.ErrBlobNotFound) {
				continue // a pack that was cut off in the middle: what it holds is uploaded again
			}
		}
		return nil
	})
}

// unindexed lists the packs of the sessions that no index knows.
func (s *Store) unindexed(ctx context.Context, sessions map[content.SessionID]bool) ([]blob.Metadata, error) {
	known := map[blob.ID]bool{}
	err := s.repo.ContentReader().IteratePacks(ctx, content.IteratePackOptions{IncludePacksWithOnlyDeletedContent: true}, func(p content.PackInfo) error {
		known[p.PackID] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the packs: %w", err)
	}
	var lost []blob.Metadata
	for _, prefix := range []blob.ID{"p", "q"} {
		err := s.repo.BlobReader().ListBlobs(ctx, prefix, func(m blob.Metadata) error {
			if sessions[content.SessionIDFromBlobID(m.BlobID)] && !known[m.BlobID] {
				lost = append(lost, m)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("cannot list the packs: %w", err)
		}
	}
	return lost, nil
}
