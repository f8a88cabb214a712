package offsite

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCacheIsBounded: what was used longest ago goes first, what a command uses stays, and so does what another one is about to complete.
func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	c, other := NewCache(dir), NewCache(dir)
	names := []string{"a.10", "b.10", "c.10", "d.x.part", "e.x.part"}
	for i, name := range names {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, 10), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i-10) * time.Minute)
		if name == "e.x.part" {
			at = at.Add(-2 * time.Hour) // left by one that was killed
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	left := func(want ...string) {
		t.Helper()
		found, err := os.ReadDir(dir)
		if err != nil || len(found) != len(want) {
			t.Fatalf("%v, %v, not %v", found, err, want)
		}
		for i, f := range found {
			if f.Name() != want[i] {
				t.Errorf("%s, not %s", f.Name(), want[i])
			}
		}
	}
	if !other.lock(filepath.Join(dir, "a.10"), 10) || other.lock(filepath.Join(dir, "b.10"), 11) {
		t.Error("a file was not taken that is whole, or one that is not")
	}
	if err := c.evict(30); err != nil {
		t.Fatal(err)
	}
	left("a.10", "c.10", "d.x.part") // a was used first, and is in use
	if err := c.evict(0); err != nil {
		t.Fatal(err)
	}
	left("a.10", "d.x.part")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	left("a.10", "d.x.part") // it is not too much
	if err := c.evict(0); err != nil {
		t.Fatal(err)
	}
	left("d.x.part")
	if err := NewCache(filepath.Join(dir, "none")).Close(); err != nil {
		t.Error(err)
	}
}
