package store_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/kopia/kopia/repo/blob"

	"github.com/holdstill/holdstill/internal/lab/store"
)

func put(t *testing.T, s blob.Storage, name string, content []byte) error {
	t.Helper()
	return s.PutBlob(t.Context(), blob.ID(name), slice(content), blob.PutOptions{})
}

func get(t *testing.T, s blob.Storage, name string) ([]byte, error) {
	t.Helper()
	var b buffer
	err := s.GetBlob(t.Context(), blob.ID(name), 0, -1, &b)
	return b.Bytes(), err
}

func holds(t *testing.T, s blob.Storage, name string, want []byte) {
	t.Helper()
	got, err := get(t, s, name)
	check(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes that are not the %d stored", name, len(got), len(want))
	}
}

// TestStores: what is put can be got and listed, and is still there when the store comes back.
func TestStores(t *testing.T) {
	for _, kind := range store.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			e := store.For(t, kind, t.TempDir())
			s := connected(t, e)
			content := random(8 << 20)
			check(t, put(t, s, "p0123456789", content))
			check(t, put(t, s, "other", []byte("x")))
			holds(t, s, "p0123456789", content)
			if d := took(func() { check(t, e.Stop()) }); d > 10*time.Second {
				t.Errorf("it took %v to stop", d)
			}
			if _, err := connect(t, e, 2*time.Second); err == nil {
				t.Error("a store that is away was opened")
			}
			check(t, e.Start())
			s = connected(t, e)
			holds(t, s, "p0123456789", content)
			found := must(blob.ListAllBlobs(t.Context(), s, "p"))(t)
			if len(found) != 1 || found[0].Length != 8<<20 {
				t.Errorf("listed: %v", found)
			}
		})
	}
}
