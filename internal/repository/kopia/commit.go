package kopia

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	kfs "github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"
	"github.com/kopia/kopia/snapshot/snapshotfs"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/repository"
)

const (
	pointTag   = "tag:holdstill-point" // "tag:" is what kopia shows as a tag
	logTag     = "tag:holdstill-binlog"
	sizeTag    = "tag:holdstill-size"  // of a log, in bytes
	entryTag   = "tag:holdstill-entry" // the object of the entry, so that a list need not read the trees
	pinName    = "holdstill"
	entryClass = "h" // contents with a letter lie in the packs that are cached whole
)

// A file's Content is its object and its length: "LENGTH:OBJECT".
func parseContent(c repository.Content) (object.ID, int64, error) {
	length, name, ok := strings.Cut(string(c), ":")
	n, err := strconv.ParseInt(length, 10, 64)
	if !ok || err != nil {
		return object.EmptyID, 0, fmt.Errorf("%q is no content of this store", c)
	}
	id, err := object.ParseID(name)
	return id, n, err
}

func contentOf(id object.ID, length int64) repository.Content {
	return repository.Content(fmt.Sprintf("%d:%s", length, id))
}

// Commit stores the directories, bottom up, and has all of it confirmed before the snapshot is written: a flush writes its packs in any
// order, and a snapshot in a pack that arrived would be found by the next session (adopt) although what it refers to did not.
func (w *writer) Commit(ctx context.Context, root *repository.Node, d repository.Description) (repository.Stored, error) {
	stored, err := w.commit(ctx, root, d)
	if err != nil {
		return stored, fmt.Errorf("cannot commit %s: %w", named(d.Kind, d.Point), meaning(err))
	}
	return stored, nil
}

func (w *writer) commit(ctx context.Context, root *repository.Node, d repository.Description) (repository.Stored, error) {
	entry, err := w.write(ctx, d.Entry, entryClass, entryFileOf(d.Kind))
	if err != nil {
		return repository.Stored{}, err
	}
	top, err := w.directory(ctx, root, "", entryFile(entry, d))
	if err != nil {
		return repository.Stored{}, err
	}
	top.Name = "/"
	if err := w.flushed(ctx); err != nil {
		return repository.Stored{}, err
	}
	if err := w.stillThere(ctx, top); err != nil {
		return repository.Stored{}, err
	}
	m := manifestOf(d, top, entry)
	if _, err := snapshot.SaveSnapshot(ctx, w.session, m); err != nil {
		return repository.Stored{}, err
	}
	if err := w.dropCheckpoints(ctx); err != nil {
		return repository.Stored{}, err
	}
	if d.Kind == repository.KindLog {
		if err := w.dropOlder(ctx, m); err != nil {
			return repository.Stored{}, err
		}
	}
	if err := w.flushed(ctx); err != nil {
		return repository.Stored{}, err
	}
	if d.Kind == repository.KindLog {
		if err := w.store.dropTails(ctx, d, sizeOf(m)); err != nil {
			return repository.Stored{}, err
		}
	}
	return repository.Stored{Description: d, Handle: string(m.ID)}, nil
}

// flushed sends everything that the session has, and returns when it is safe.
func (w *writer) flushed(ctx context.Context) error {
	if err := w.session.Flush(ctx); err != nil {
		return err
	}
	return w.store.synced()
}

// synced makes names durable where the store is a directory: kopia syncs its files, and a power cut could take their names.
func (s *Store) synced() error {
	u, err := s.settings.Location.parse()
	if err != nil || u.Scheme != "file" {
		return err
	}
	return mount.SyncFS(u.Path)
}

func entryFile(id object.ID, d repository.Description) *snapshot.DirEntry {
	return &snapshot.DirEntry{Name: entryFileOf(d.Kind), Type: snapshot.EntryTypeFile, Permissions: 0o600, FileSize: int64(len(d.Entry)),
		ModTime: kfs.UTCTimestampFromTime(d.TakenAt), ObjectID: id}
}

func manifestOf(d repository.Description, top *snapshot.DirEntry, entry object.ID) *snapshot.Manifest {
	now := kfs.UTCTimestampFromTime(time.Now())
	m := &snapshot.Manifest{
		Source:      sourceOf(d.Kind, d.Host, d.Instance),
		Description: titleOf(d.Kind) + d.Point,
		StartTime:   kfs.UTCTimestampFromTime(d.TakenAt), EndTime: now,
		RootEntry: top,
		Tags:      map[string]string{tagOf(d.Kind): d.Point, entryTag: entry.String()},
	}
	if d.Kind == repository.KindLog && top.DirSummary != nil {
		m.Tags[sizeTag] = strconv.FormatInt(top.DirSummary.TotalFileSize-int64(len(d.Entry)), 10)
	}
	if d.Pinned {
		m.Pins = []string{pinName}
	}
	if s := top.DirSummary; s != nil {
		m.Stats.TotalFileCount, m.Stats.TotalDirectoryCount = int32(s.TotalFileCount), int32(s.TotalDirCount)
		m.Stats.TotalFileSize = s.TotalFileSize
	}
	return m
}

// directory stores a directory and everything below it.
func (w *writer) directory(ctx context.Context, n *repository.Node, path string, more ...*snapshot.DirEntry) (*snapshot.DirEntry, error) {
	var b snapshotfs.DirManifestBuilder
	for _, e := range more {
		b.AddEntry(e)
	}
	for _, child := range n.Entries {
		e, err := w.entry(ctx, child, path+"/"+child.Name)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", path, child.Name, err)
		}
		b.AddEntry(e)
	}
	m := b.Build(kfs.UTCTimestampFromTime(n.ModTime), "")
	id, err := snapshotfs.WriteDirManifest(ctx, w.session, path, m, metadataAlg)
	if err != nil {
		return nil, err
	}
	e := common(n, snapshot.EntryTypeDirectory)
	e.ObjectID, e.DirSummary = id, m.Summary
	return e, nil
}

func (w *writer) entry(ctx context.Context, n *repository.Node, path string) (*snapshot.DirEntry, error) {
	switch {
	case n.Mode.IsDir():
		return w.directory(ctx, n, path)
	case n.Mode&fs.ModeSymlink != 0:
		id, err := w.write(ctx, []byte(n.Target), "", path)
		e := common(n, snapshot.EntryTypeSymlink)
		e.ObjectID, e.FileSize = id, int64(len(n.Target))
		return e, err
	case n.Mode.IsRegular():
		id, length, err := parseContent(n.Content)
		e := common(n, snapshot.EntryTypeFile)
		e.ObjectID, e.FileSize = id, length
		return e, err
	}
	return nil, fmt.Errorf("%s is neither a file nor a directory nor a symlink", path)
}

func common(n *repository.Node, kind snapshot.EntryType) *snapshot.DirEntry {
	return &snapshot.DirEntry{Name: n.Name, Type: kind, Permissions: snapshot.Permissions(n.Mode.Perm()),
		ModTime: kfs.UTCTimestampFromTime(n.ModTime), UserID: n.UID, GroupID: n.GID}
}

// Describe stores the snapshot anew with another entry, and takes the old ones away in the same flush.
func (s *Store) Describe(ctx context.Context, was repository.Stored, d repository.Description) (repository.Stored, error) {
	old, err := s.manifestsOf(ctx, was.Kind, was.Point)
	if err != nil {
		return was, err
	}
	var out repository.Stored
	err = repo.DirectWriteSession(ctx, s.repo, repo.WriteSessionOptions{Purpose: "holdstill describe"}, func(ctx context.Context, session repo.DirectRepositoryWriter) error {
		w := &writer{store: s, session: session}
		entry, err := w.write(ctx, d.Entry, entryClass, entryFileOf(d.Kind))
		if err != nil {
			return err
		}
		top, err := w.withEntry(ctx, old[0].RootEntry, entryFile(entry, d))
		if err != nil {
			return err
		}
		if err := w.flushed(ctx); err != nil { // as in Commit
			return err
		}
		m := manifestOf(d, top, entry)
		if _, err := snapshot.SaveSnapshot(ctx, session, m); err != nil {
			return err
		}
		out = repository.Stored{Description: d, Handle: string(m.ID)}
		return deleteAll(ctx, session, old)
	})
	if err == nil {
		err = s.synced()
	}
	if err != nil {
		return was, fmt.Errorf("cannot describe %s anew: %w", named(d.Kind, d.Point), meaning(err))
	}
	return out, nil
}

// withEntry is a root directory with another description file.
func (w *writer) withEntry(ctx context.Context, top *snapshot.DirEntry, entry *snapshot.DirEntry) (*snapshot.DirEntry, error) {
	raw, err := read(ctx, w.session, top.ObjectID)
	if err != nil {
		return nil, err
	}
	var m snapshot.DirManifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, errors.Join(repository.ErrDamaged, err)
	}
	var b snapshotfs.DirManifestBuilder
	b.AddEntry(entry)
	for _, e := range m.Entries {
		if e.Name != entry.Name {
			b.AddEntry(e)
		}
	}
	out := top.Clone()
	dir := b.Build(top.ModTime, "")
	out.DirSummary = dir.Summary
	out.ObjectID, err = snapshotfs.WriteDirManifest(ctx, w.session, "/", dir, metadataAlg)
	return out, err
}
