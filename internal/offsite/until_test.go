package offsite

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdstill/holdstill/internal/archive"
)

// TestUntilIsOfTheLastLog: that nothing is missing until some time is only said of what is stored then: not with the first of several logs of which the
// last may never arrive, and not of what was archived after the shipper looked.
func TestUntilIsOfTheLastLog(t *testing.T) {
	y := newYard(t)
	y.sql("CREATE DATABASE a", "FLUSH LOGS", "CREATE DATABASE b")
	y.archived()
	a, err := archive.Open(y.dir)
	if err != nil {
		t.Fatal(err)
	}
	s := y.shipper()
	s.begin()
	t.Cleanup(s.end)
	if err := s.look(); err != nil {
		t.Fatal(err)
	}
	looked := a.Until()
	y.sql("CREATE DATABASE c", "FLUSH LOGS", "CREATE DATABASE d")
	y.archived()
	if err := s.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, all := y.stored(); len(all) != 2 || !all[0].Until.IsZero() || !all[1].Until.Equal(looked) || looked.IsZero() {
		t.Errorf("the shipper looked at %s; stored are %+v", looked, all)
	}
	if err := s.look(); err != nil {
		t.Fatal(err)
	}
	pending := s.pending
	s.pending = pending[:1] // killed behind it
	if err := s.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, all := y.stored(); len(all) != 2 || !all[1].Closed || !all[1].Until.Equal(looked) {
		t.Errorf("what was true of the second log until %s still is: %+v", looked, all)
	}
	s.pending = pending[1:]
	if err := s.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, all := y.stored(); len(all) != 3 || !all[2].Until.Equal(a.Until()) {
		t.Errorf("the archive is complete until %s; stored are %+v", a.Until(), all)
	}
}

// TestNoUntilOfDamage: what is behind damage in the archive counts as missing, so nothing is said of the time.
func TestNoUntilOfDamage(t *testing.T) {
	y := newYard(t)
	y.sql("CREATE DATABASE a", "CREATE DATABASE b", "CREATE DATABASE c")
	y.archived()
	path := filepath.Join(y.dir, "00000001-binlog.000001")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]int{"the last event": len(whole) - 3, "the first": 30} {
		bad := bytes.Clone(whole)
		bad[at] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s := y.shipper()
		s.begin()
		if err := s.look(); err != nil || !s.until.IsZero() {
			t.Errorf("%s: %v, complete until %s", name, err, s.until)
		}
		s.end()
	}
}
