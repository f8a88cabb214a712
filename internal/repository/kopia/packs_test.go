package kopia

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/format"

	"github.com/holdstill/holdstill/internal/repository"
)

// TestPacksGiveWhatTheLibraryGives reads every content in both ways: those of files and of indexes, compressed and not.
func TestPacksGiveWhatTheLibraryGives(t *testing.T) {
	l := begun(t)
	l.data = bytes.Repeat([]byte("compresses well "), 300<<10)
	l.put(t)
	if err := l.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := l.store.repo
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := newPacks(r)
	if err != nil || p == nil {
		t.Fatalf("contents are not read from packs: %v", err)
	}
	seen := map[bool]int{}
	err = r.ContentReader().IterateContents(t.Context(), content.IterateOptions{}, func(info content.Info) error {
		want, err := r.ContentReader().GetContent(t.Context(), info.ContentID)
		if err != nil {
			return err
		}
		got := make([]byte, len(want))
		if err := p.get(t.Context(), info.ContentID, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is read differently from its pack: %v", info.ContentID, err)
		}
		for _, wrong := range [][]byte{make([]byte, len(want)+1), make([]byte, max(0, len(want)-1))} {
			if err := p.get(t.Context(), info.ContentID, wrong); !errors.Is(err, repository.ErrDamaged) {
				t.Errorf("%s of %d bytes fills %d: %v", info.ContentID, len(want), len(wrong), err)
			}
		}
		seen[info.CompressionHeaderID != content.NoCompression]++
		return nil
	})
	if err != nil || seen[true] == 0 || seen[false] == 0 {
		t.Errorf("compressed and other contents: %v, %v", seen, err)
	}
}

// TestPacksRefuseAnotherContent gives one content's bytes for another's.
func TestPacksRefuseAnotherContent(t *testing.T) {
	l := begun(t)
	if err := l.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := newPacks(l.store.repo)
	if err != nil {
		t.Fatal(err)
	}
	var all []content.Info
	if err := errors.Join(l.store.repo.Refresh(t.Context()), l.store.repo.ContentReader().IterateContents(t.Context(), content.IterateOptions{}, func(info content.Info) error {
		if info.OriginalLength == 16384 {
			all = append(all, info)
		}
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	other := all[0]
	other.ContentID = all[1].ContentID
	u := p.spare.Get().(*unpacker)
	read := func() {
		if err := p.repo.BlobReader().GetBlob(t.Context(), all[0].PackBlobID, int64(all[0].PackOffset), int64(all[0].PackedLength), &u.packed); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if err := u.unpack(other, make([]byte, 16384)); err == nil {
		t.Error("the bytes of one content are taken for another")
	}
	read()
	if err := u.unpack(all[0], make([]byte, 16384)); err != nil {
		t.Error(err)
	}
}

// TestOtherEncryption reads and writes a repository that somebody made with the kopia program and other algorithms.
func TestOtherEncryption(t *testing.T) {
	dir := t.TempDir()
	s := Settings{Location: Location{URL: dir + "/store"}, Password: "secret12", Dir: dir + "/state", Host: "a"}
	if err := os.Mkdir(dir+"/store", 0o700); err != nil {
		t.Fatal(err)
	}
	storage, err := s.Location.storage(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	err = repo.Initialize(t.Context(), storage, &repo.NewRepositoryOptions{
		BlockFormat: format.ContentFormat{Hash: "BLAKE2S-128", Encryption: "CHACHA20-POLY1305-HMAC-SHA256"},
	}, s.Password)
	if err := errors.Join(err, storage.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	l := &lone{settings: s, data: bytes.Repeat([]byte("0123456789abcdef"), 500<<10)}
	if l.store, err = Connect(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	defer l.store.Close(t.Context())
	l.put(t)
	if err := l.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	points, err := l.store.Points(t.Context())
	if err != nil || len(points) != 1 {
		t.Fatalf("%d points: %v", len(points), err)
	}
	tree, err := l.store.Open(t.Context(), points[0])
	if err != nil {
		t.Fatal(err)
	}
	out := &sink{data: make([]byte, len(l.data))}
	n := &repository.Node{Name: "data", Size: int64(len(l.data)), Content: l.content}
	if err := tree.Fetch(t.Context(), n, out, repository.Fetching{Seed: bytes.NewReader(l.data[:100])}); err != nil || !bytes.Equal(out.data, l.data) {
		t.Errorf("fetched differently: %v", err)
	}
	r, err := tree.Open(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(l.data))
	if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, l.data) {
		t.Errorf("read differently: %v", err)
	}
}

// sink is memory that is fetched into.
type sink struct{ data []byte }

func (m *sink) WriteAt(p []byte, at int64) (int, error) { return copy(m.data[at:], p), nil }
