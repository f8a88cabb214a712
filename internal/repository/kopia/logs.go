package kopia

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kopia/kopia/repo/manifest"
	"github.com/kopia/kopia/snapshot"

	"github.com/holdstill/holdstill/internal/repository"
)

// logsBelow is where the sources of an instance's logs are, beside those of its points.
const logsBelow = "/binlog"

func tagOf(kind repository.Kind) string {
	if kind == repository.KindLog {
		return logTag
	}
	return pointTag
}

func entryFileOf(kind repository.Kind) string {
	if kind == repository.KindLog {
		return "holdstill-binlog.json"
	}
	return "holdstill-point.json"
}

func titleOf(kind repository.Kind) string {
	if kind == repository.KindLog {
		return "Holdstill binary log "
	}
	return "Holdstill restore point "
}

// named is what messages call it.
func named(kind repository.Kind, id string) string {
	if kind == repository.KindLog {
		return "the binary log " + id
	}
	return "the point " + id
}

func sourceOf(kind repository.Kind, host, instance string) snapshot.SourceInfo {
	s := snapshot.SourceInfo{Host: host, UserName: userName, Path: "/" + instance}
	if kind == repository.KindLog {
		s.Path += logsBelow
	}
	return s
}

// logOf is what a snapshot itself says of its log.
func logOf(m *snapshot.Manifest) repository.Description {
	return repository.Description{Kind: repository.KindLog, Point: m.Tags[logTag], Host: m.Source.Host, TakenAt: m.StartTime.ToTime().UTC(),
		Instance: strings.TrimSuffix(strings.TrimPrefix(m.Source.Path, "/"), logsBelow)}
}

// sizeOf is how much of its log a snapshot has, in bytes.
func sizeOf(m *snapshot.Manifest) int64 { return sizeIn(m.Tags) }

func sizeIn(tags map[string]string) int64 {
	size, _ := strconv.ParseInt(tags[sizeTag], 10, 64)
	return size
}

// Logs lists the logs, each as far as it is stored. The tails are listed first: one that a commit takes over meanwhile is then in the tree.
func (s *Store) Logs(ctx context.Context) ([]repository.Stored, error) {
	tails, err := s.allTails(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the binary logs of %s: %w", s.settings.Location, meaning(err))
	}
	manifests, err := s.manifests(ctx, logTag)
	if err != nil {
		return nil, fmt.Errorf("cannot list the binary logs of %s: %w", s.settings.Location, meaning(err))
	}
	newest := map[string]*snapshot.Manifest{}
	for _, m := range manifests { // two hosts see a commit at different moments
		if was := newest[m.Tags[logTag]]; was == nil || sizeOf(m) > sizeOf(was) || sizeOf(m) == sizeOf(was) && m.EndTime > was.EndTime {
			newest[m.Tags[logTag]] = m
		}
	}
	manifests = slices.DeleteFunc(manifests, func(m *snapshot.Manifest) bool { return newest[m.Tags[logTag]] != m })
	logs, err := s.described(ctx, manifests, logOf)
	if err != nil {
		return nil, err
	}
	for i := range logs {
		if err := s.extend(ctx, &logs[i], sizeOf(newest[logs[i].Point]), tails[s.tailPrefix(logs[i].Point)]); err != nil {
			return nil, fmt.Errorf("cannot list the binary logs of %s: %w", s.settings.Location, err)
		}
	}
	return logs, nil
}

// dropOlder takes away what was stored of the log before, in the same flush.
func (w *writer) dropOlder(ctx context.Context, m *snapshot.Manifest) error {
	ids, err := snapshot.ListSnapshotManifests(ctx, w.session, &m.Source, map[string]string{logTag: m.Tags[logTag]})
	if err != nil {
		return err
	}
	for _, id := range slices.DeleteFunc(ids, func(id manifest.ID) bool { return id == m.ID }) {
		if err := w.session.DeleteManifest(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
