package kopia

import (
	"context"
	"errors"
	"fmt"
	"time"

	kfs "github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"
	"github.com/kopia/kopia/snapshot/snapshotfs"
)

// kopia's garbage collection knows nothing of sessions: what no snapshot refers to, and is older than a day, is marked, and dropped some
// hours later. That hits what a session wrote a day ago, and what it takes over from a point that is removed meanwhile. So a long session
// writes down every hour what it has so far, as a snapshot of its own, without the tag of a point, as kopia's own uploader does.
const checkpointTag = "tag:holdstill-checkpoint"

// Only tests set them.
var (
	checkpointEvery = 45 * time.Minute
	// gcMargin is less than the time after which what is not referred to can be dropped (kopia: maintenance.SafetyFull: two collections
	// four hours apart, and one more hour).
	gcMargin = 3 * time.Hour
)

// finish notes a segment that is stored.
func (w *writer) finish(p piece) {
	w.checkpoints.Lock()
	defer w.checkpoints.Unlock()
	at := int64(0)
	if n := len(w.finished); n > 0 {
		at = w.finished[n-1].Start + w.finished[n-1].Length
	}
	w.finished = append(w.finished, piece{Start: at, Length: p.Length, Object: p.Object})
}

func (w *writer) checkpointSometimes(ctx context.Context) error {
	if time.Since(w.begun) < checkpointEvery || !w.checkpoints.TryLock() {
		return nil
	}
	defer w.checkpoints.Unlock()
	if time.Since(w.checkpointed) < checkpointEvery {
		return nil
	}
	w.checkpointed = time.Now()
	if err := w.checkpoint(ctx); err != nil {
		return fmt.Errorf("cannot protect what is stored so far: %w", err)
	}
	return nil
}

// checkpoint stores a snapshot with one file, which is made of all segments so far. The earlier ones are of no use then.
func (w *writer) checkpoint(ctx context.Context) error {
	if len(w.finished) == 0 {
		return nil
	}
	id, err := w.join(ctx, w.finished, "checkpoint")
	if err != nil {
		return err
	}
	last := w.finished[len(w.finished)-1]
	now := kfs.UTCTimestampFromTime(time.Now())
	var b snapshotfs.DirManifestBuilder
	b.AddEntry(&snapshot.DirEntry{Name: "checkpoint", Type: snapshot.EntryTypeFile, Permissions: 0o600, ModTime: now, FileSize: last.Start + last.Length, ObjectID: id})
	dir := b.Build(now, "checkpoint")
	top, err := snapshotfs.WriteDirManifest(ctx, w.session, "/", dir, metadataAlg)
	if err != nil {
		return err
	}
	if err := w.flushed(ctx); err != nil { // as in Commit
		return err
	}
	if err := w.dropCheckpoints(ctx); err != nil {
		return err
	}
	_, err = snapshot.SaveSnapshot(ctx, w.session, &snapshot.Manifest{
		Source: w.source(), Description: "Holdstill checkpoint", StartTime: now, EndTime: now, IncompleteReason: "checkpoint",
		RootEntry: &snapshot.DirEntry{Name: "/", Type: snapshot.EntryTypeDirectory, Permissions: 0o700, ModTime: now, ObjectID: top, DirSummary: dir.Summary},
		Tags:      map[string]string{checkpointTag: w.of.Instance},
	})
	if err != nil {
		return err
	}
	return w.session.Flush(ctx)
}

func (w *writer) source() snapshot.SourceInfo {
	return sourceOf(w.of.Kind, w.of.Host, w.of.Instance)
}

// dropCheckpoints removes the checkpoints of the instance, those of sessions that were killed too: only one session of an instance lives.
func (w *writer) dropCheckpoints(ctx context.Context) error {
	source := w.source()
	ids, err := snapshot.ListSnapshotManifests(ctx, w.session, &source, map[string]string{checkpointTag: w.of.Instance})
	for _, id := range ids {
		if err := w.session.DeleteManifest(ctx, id); err != nil {
			return err
		}
	}
	return err
}

// stillThere makes sure, at the end of a session that took longer than garbage collection needs, that nothing which the point refers to
// was dropped or is about to be.
func (w *writer) stillThere(ctx context.Context, top *snapshot.DirEntry) error {
	if time.Since(w.begun) < gcMargin {
		return nil
	}
	if err := w.store.repo.Refresh(ctx); err != nil {
		return err
	}
	return w.present(ctx, top)
}

func (w *writer) present(ctx context.Context, e *snapshot.DirEntry) error {
	ids, err := w.session.VerifyObject(ctx, e.ObjectID)
	if err != nil {
		return fmt.Errorf("%s: %w: %v", e.Name, errCollected, err) // no damage: the store is as it should be
	}
	for _, id := range ids {
		if err := w.alive(ctx, id); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	if e.Type != snapshot.EntryTypeDirectory {
		return nil
	}
	children, err := (&tree{repo: w.session}).raw(ctx, e.ObjectID)
	for _, child := range children {
		if err := w.present(ctx, child); err != nil {
			return err
		}
	}
	return err
}

// errCollected is no damage: the next attempt sends it again.
var errCollected = errors.New("it was given up by the repository meanwhile, since no point referred to it")

func (w *writer) alive(ctx context.Context, id content.ID) error {
	info, err := w.session.ContentInfo(ctx, id)
	if err == nil && info.Deleted {
		err = fmt.Errorf("%s: %w", object.DirectObjectID(id), errCollected)
	}
	return err
}
