package kopia

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/snapshot"

	"github.com/holdstill/holdstill/internal/repository"
)

// logged is a store with a log of ten bytes, and two tails of five each.
func logged(t *testing.T) (*Store, repository.Description) {
	t.Helper()
	dir := t.TempDir()
	s, err := Init(t.Context(), Settings{Location: Location{URL: filepath.Join(dir, "store")}, Password: "secret", Host: "a", Dir: filepath.Join(dir, "a")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	d := repository.Description{Kind: repository.KindLog, Point: "one", Instance: "shop", Host: "a", TakenAt: time.Now(), Entry: json.RawMessage(`{"to":10}`)}
	commitBytes(t, s, d, "0123456789")
	d.Entry = json.RawMessage(`{"to":15}`)
	for at, text := range map[int64]string{10: "abcde", 15: "fghij"} {
		if err := s.Append(t.Context(), d, repository.Tail{From: at, To: at + 5}, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return s, d
}

func commitBytes(t *testing.T, s *Store, d repository.Description, text string) {
	t.Helper()
	w, err := s.Begin(t.Context(), repository.Session{Kind: repository.KindLog, Instance: "shop", Host: "a", Chunk: 4096})
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.Put(t.Context(), repository.File{Name: "log", Reader: strings.NewReader(text), Size: int64(len(text))})
	if err == nil {
		_, err = w.Commit(t.Context(), &repository.Node{Mode: fs.ModeDir | 0o700, Entries: []*repository.Node{{Name: "log", Mode: 0o600, Size: int64(len(text)), Content: c}}}, d)
	}
	if err := errors.Join(err, w.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func tailFiles(t *testing.T, s *Store) []string {
	t.Helper()
	dir, _ := s.settings.Location.directory()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, below, _ := strings.Cut(strings.ReplaceAll(strings.TrimPrefix(path, dir+"/"), "/", ""), ".f"); below == "" && strings.HasPrefix(name, tailPrefix) && strings.HasSuffix(path, ".f") {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestATailIsWhatItWas: one that was changed, or put in the place of another, is no bytes of a log: it is damage that a check names, and the log is told
// as far as it can be read. Nothing of it is to be seen in the store.
func TestATailIsWhatItWas(t *testing.T) {
	s, _ := logged(t)
	files := tailFiles(t, s)
	if len(files) != 2 {
		t.Fatalf("tails: %v", files)
	}
	first, second := files[0], files[1]
	if strings.Contains(second, "000a-") {
		first, second = second, first
	}
	whole, _ := os.ReadFile(second)
	other, _ := os.ReadFile(first)
	if bytes.Contains(whole, []byte("fghij")) || strings.Contains(first+second, "one-") {
		t.Error("a tail can be read")
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for what, bad := range map[string][]byte{"flipped": flipped, "cut off": whole[:len(whole)-1], "empty": {}, "another's": other} {
		if err := os.WriteFile(second, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		logs, err := s.Logs(t.Context())
		if err != nil || len(logs) != 1 || len(logs[0].Tails) != 1 {
			t.Errorf("%s: %+v, %v", what, logs, err)
			continue
		}
		if _, err := s.ReadTail(t.Context(), logs[0], repository.Tail{From: 15, To: 20}); !errors.Is(err, repository.ErrDamaged) {
			t.Errorf("%s: read with %v", what, err)
		}
		if h, err := s.Check(t.Context(), repository.CheckOptions{}); err != nil || len(h.Damages) != 1 || h.Damages[0].Log != "one" {
			t.Errorf("%s: check: %+v, %v", what, h, err)
		}
	}
}

// TestTailsOfWhatCannotBeReadStay: a log whose snapshot cannot be loaded, which kopia only logs, is not one that was removed.
func TestTailsOfWhatCannotBeReadStay(t *testing.T) {
	s, d := logged(t)
	err := repo.WriteSession(t.Context(), s.repo, repo.WriteSessionOptions{}, func(ctx context.Context, w repo.RepositoryWriter) error {
		ids, err := snapshot.ListSnapshotManifests(ctx, w, nil, map[string]string{logTag: d.Point})
		if err != nil || len(ids) != 1 {
			return fmt.Errorf("%d snapshots: %w", len(ids), err)
		}
		m, err := w.GetManifest(ctx, ids[0], nil)
		if err == nil {
			_, err = w.PutManifest(ctx, m.Labels, "no snapshot")
		}
		return errors.Join(err, w.DeleteManifest(ctx, ids[0]))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sweepTails(t.Context(), time.Now().Add(time.Minute)); err != nil || len(tailFiles(t, s)) != 2 {
		t.Errorf("%v, and left are %v", err, tailFiles(t, s))
	}
}

// TestTailsAreSwept: what a kill left is removed, and nothing else.
func TestTailsAreSwept(t *testing.T) {
	s, d := logged(t)
	if err := s.sweepTails(t.Context(), time.Now().Add(time.Minute)); err != nil || len(tailFiles(t, s)) != 2 {
		t.Errorf("%v, and left are %v", err, tailFiles(t, s))
	}
	left := map[string][]byte{}
	for _, f := range tailFiles(t, s) {
		left[f], _ = os.ReadFile(f)
	}
	commitBytes(t, s, d, "0123456789abcdefg")
	if now := tailFiles(t, s); len(now) != 1 {
		t.Errorf("a commit left %v", now)
	}
	for f, raw := range left { // as if the commit had been killed before it removed them
		if err := os.WriteFile(f, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		before time.Time
		want   int
	}{{time.Now().Add(-tailMargin), 2}, {time.Now().Add(time.Minute), 1}} {
		if err := s.sweepTails(t.Context(), c.before); err != nil || len(tailFiles(t, s)) != c.want {
			t.Errorf("%v, and left are %v, not %d", err, tailFiles(t, s), c.want)
		}
	}
}
