package kopia

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/maintenance"
	"github.com/kopia/kopia/repo/manifest"
	"github.com/kopia/kopia/snapshot"
	"github.com/kopia/kopia/snapshot/snapshotmaintenance"

	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/repository/repositorytest"
)

// lone is a repository of one host, and a session that has stored one file.
type lone struct {
	settings Settings
	store    *Store
	writer   repository.Writer
	data     []byte
	content  repository.Content
}

func begun(t *testing.T) *lone {
	dir := t.TempDir()
	l := &lone{data: repositorytest.Random(21, 3<<20), settings: Settings{Location: Location{URL: filepath.Join(dir, "store")},
		Password: "secret12", Dir: filepath.Join(dir, "state"), Host: "a"}}
	var err error
	if l.store, err = Init(t.Context(), l.settings); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.store.Close(context.Background()) })
	l.put(t)
	return l
}

func (l *lone) put(t *testing.T) {
	t.Helper()
	var err error
	if l.writer, err = l.store.Begin(t.Context(), repository.Session{Instance: "shop", Host: "a", Chunk: 16384}); err != nil {
		t.Fatal(err)
	}
	l.content, err = l.writer.Put(t.Context(), repository.File{Name: "data", Reader: bytes.NewReader(l.data), Size: int64(len(l.data))})
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lone) commit(ctx context.Context) error {
	root := &repository.Node{Mode: fs.ModeDir | 0o755, Entries: []*repository.Node{{Name: "data", Mode: 0o644, Size: int64(len(l.data)), Content: l.content}}}
	_, err := l.writer.Commit(ctx, root, repositorytest.Describe("a", "shop", 1))
	return errors.Join(err, l.writer.Close(context.Background()))
}

// A flush writes its packs in any order. Whichever of them fails, no later session may publish a point whose data did not arrive.
func TestADyingCommitPublishesNothing(t *testing.T) {
	for range 6 { // the order is drawn anew each time
		l := begun(t)
		packs := filepath.Join(l.settings.Location.URL, "p")
		if err := errors.Join(os.RemoveAll(packs), os.WriteFile(packs, nil, 0o600)); err != nil { // no data can be stored now
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if err := l.commit(ctx); err == nil {
			t.Fatal("a commit without data succeeded")
		}
		cancel()
		if err := os.Remove(packs); err != nil {
			t.Fatal(err)
		}
		again, err := Open(t.Context(), l.settings)
		if err != nil {
			t.Fatal(err)
		}
		w, err := again.Begin(t.Context(), repository.Session{Instance: "other", Host: "a", Chunk: 16384})
		if err != nil {
			t.Fatal(err)
		}
		points, err := again.Points(t.Context())
		if err != nil || len(points) > 0 {
			t.Errorf("after a commit that failed there are %d points, %v", len(points), err)
		}
		if err := errors.Join(w.Close(t.Context()), again.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}

// collect lets another host run garbage collection, with all margins set to nothing instead of waiting for days.
func (l *lone) collect(t *testing.T) {
	t.Helper()
	settings := l.settings
	settings.Dir += "-other"
	other, err := Open(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := repo.DirectWriteSession(t.Context(), other.repo, repo.WriteSessionOptions{Purpose: "test"}, func(ctx context.Context, w repo.DirectRepositoryWriter) error {
			return snapshotmaintenance.Run(ctx, w, maintenance.ModeFull, true, maintenance.SafetyNone)
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond) // kopia's index counts in seconds
	}
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestALongSessionProtectsWhatItHas(t *testing.T) {
	margins(t)
	l := begun(t)
	if err := l.writer.(*writer).checkpointSometimes(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.collect(t)
	if err := l.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h, err := l.store.Check(t.Context(), repository.CheckOptions{Read: 100}); err != nil || len(h.Damages) > 0 || h.Points != 1 {
		t.Errorf("check: %+v, %v", h, err)
	}
	all, err := l.store.manifests(t.Context(), pointTag)
	if err != nil || len(all) != 1 {
		t.Errorf("%d manifests, %v", len(all), err)
	}
}

// What was collected all the same is found before the point is seen, and sent again by the next attempt.
func TestWhatWasCollectedIsNoticed(t *testing.T) {
	margins(t)
	checkpointEvery = time.Hour
	l := begun(t)
	if err := l.writer.(*writer).session.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.collect(t)
	if err := l.commit(t.Context()); err == nil {
		t.Fatal("a point was committed whose data are gone")
	}
	if points, err := l.store.Points(t.Context()); err != nil || len(points) > 0 {
		t.Errorf("%d points, %v", len(points), err)
	}
	l.put(t)
	if err := l.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h, err := l.store.Check(t.Context(), repository.CheckOptions{Read: 100}); err != nil || len(h.Damages) > 0 || h.Points != 1 {
		t.Errorf("check: %+v, %v", h, err)
	}
}

func margins(t *testing.T) {
	every, margin := checkpointEvery, gcMargin
	t.Cleanup(func() { checkpointEvery, gcMargin = every, margin })
	checkpointEvery, gcMargin = 0, 0
}

// A list that silently lacks a point would let prune take away what only that point needs.
func TestAManifestThatCannotBeReadIsNotLeftOut(t *testing.T) {
	l := begun(t)
	if err := l.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := repo.WriteSession(t.Context(), l.store.repo, repo.WriteSessionOptions{Purpose: "test"}, func(ctx context.Context, w repo.RepositoryWriter) error {
		_, err := w.PutManifest(ctx, map[string]string{manifest.TypeLabelKey: snapshot.ManifestType}, map[string]any{"startTime": "never"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if points, err := l.store.Points(t.Context()); err == nil {
		t.Errorf("a list of %d points, and no word of what is not in it", len(points))
	}
}
