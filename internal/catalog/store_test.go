package catalog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func filled(t *testing.T) *Store {
	t.Helper()
	s := Open(filepath.Join(t.TempDir(), "points"))
	at := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	for i, p := range []Point{
		{ID: "20261122-130000-aaaaaa", Instance: "a"},
		{ID: "20261122-130001-bbbbbb", Instance: "b"},
		{ID: "20261122-130002-cccccc", Instance: "a"},
		{ID: "20261122-130003-dddddd", Instance: "a", Status: Expired},
	} {
		p.TakenAt = at.Add(time.Duration(i) * time.Second)
		if err := s.Put(&p); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestFind(t *testing.T) {
	s := filled(t)
	for _, c := range []struct {
		name, instance, want string
		err                  error
	}{
		{"latest", "", "20261122-130002-cccccc", nil},
		{"latest", "b", "20261122-130001-bbbbbb", nil},
		{"latest~1", "a", "20261122-130000-aaaaaa", nil},
		{"latest~2", "a", "", ErrNotFound},
		{"latest~x", "", "", ErrNotFound},
		{"20261122-130001", "", "20261122-130001-bbbbbb", nil},
		{"20261122-13000", "", "", ErrAmbiguous},
		{"20261122-130003-dddddd", "", "20261122-130003-dddddd", nil},
		{"", "", "", ErrNotFound},
		{"../etc", "", "", ErrNotFound},
	} {
		p, err := s.Find(c.name, c.instance)
		if !errors.Is(err, c.err) || c.err == nil && p.ID != c.want {
			t.Errorf("%q of %q: %+v, %v; want %q, %v", c.name, c.instance, p, err, c.want, c.err)
		}
	}
}

func TestGet(t *testing.T) {
	s := filled(t)
	if p, err := s.Get("20261122-130001-bbbbbb"); err != nil || p.Instance != "b" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := s.Get("20261122-130001"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a prefix is no id: %+v, %v", p, err)
	}
}

// A clock that was set back must not make an older point the latest, nor must a point that is written anew (pinned, expired)
// become newer than it is.
func TestOrderOutlivesTheClock(t *testing.T) {
	s := filled(t) // entries from before there was a sequence
	at := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	for i, id := range []string{"20261122-140000-eeeeee", "20261122-120000-ffffff", "20261122-130500-gggggg"} {
		p := &Point{ID: id, Instance: "a", TakenAt: at.Add([]time.Duration{0, -2 * time.Hour, -55 * time.Minute}[i])}
		if err := s.Record(p); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"latest": "20261122-130500-gggggg", "latest~1": "20261122-120000-ffffff",
		"latest~2": "20261122-140000-eeeeee", "latest~3": "20261122-130002-cccccc"} {
		p, err := s.Find(name, "a")
		if err != nil || p.ID != want {
			t.Fatalf("%s: %+v, %v; want %s", name, p, err, want)
		}
		if err := s.Put(p); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := s.Find("latest", ""); err != nil || p.ID != "20261122-130500-gggggg" {
		t.Errorf("after they were written anew the latest is %+v, %v", p, err)
	}
}

func TestOneBrokenFileHidesNoOther(t *testing.T) {
	s := filled(t)
	if err := os.WriteFile(s.file("torn"), []byte(`{"id":`), 0o600); err != nil {
		t.Fatal(err)
	}
	points, err := s.List("")
	if err == nil || len(points) != 4 {
		t.Fatalf("%d points, error %v", len(points), err)
	}
	if p, err := s.Find("latest", "b"); err != nil || p.Instance != "b" {
		t.Fatalf("%+v, %v", p, err)
	}
}

func TestEntriesAreNobodyElses(t *testing.T) {
	s := filled(t)
	for path, want := range map[string]os.FileMode{s.dir: 0o700, s.file("20261122-130000-aaaaaa"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

func TestForgetTwice(t *testing.T) {
	s := filled(t)
	for range 2 {
		if err := s.Forget("20261122-130000-aaaaaa"); err != nil {
			t.Fatal(err)
		}
	}
	if s.Has("20261122-130000-aaaaaa") {
		t.Fatal("still there")
	}
}
