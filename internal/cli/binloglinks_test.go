package cli

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/wire"
)

// TestUntilIsOfTheEnd: only what is said of the last log tells that nothing is missing behind it.
func TestUntilIsOfTheEnd(t *testing.T) {
	a, _ := testApp(t)
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	link := func(seq int, until time.Time) offsite.Link {
		s := offsite.Stored{Record: offsite.Record{State: archive.State{Log: archive.Log{Seq: seq}}, Until: until}}
		return offsite.Link{State: s.State, Store: &s}
	}
	here := offsite.Link{Path: "/here"}
	for want, links := range map[time.Time][]offsite.Link{
		at.Add(1): {link(1, at.Add(2)), link(2, at.Add(1))},
		{}:        {link(1, at.Add(2)), link(2, at.Add(1)), here},
	} {
		if got := a.ways(links, "shop", "here").Until; !got.Equal(want) {
			t.Errorf("of %d logs: %s, not %s", len(links), got, want)
		}
	}
}

// TestAShelfThatHangsIsLeftAlone: who asked a store that does not answer keeps nobody else from asking again.
func TestAShelfThatHangsIsLeftAlone(t *testing.T) {
	a, _ := testApp(t)
	a.configPath = filepath.Join(t.TempDir(), "config.yaml")
	if err := syscall.Mkfifo(a.configPath, 0o600); err != nil {
		t.Fatal(err)
	}
	shelf := a.logsElsewhere()
	done := make(chan error)
	go func() { _, err := shelf.stored(t.Context(), "", ""); done <- err }()
	var hangs int
	for err := error(syscall.ENXIO); errors.Is(err, syscall.ENXIO); time.Sleep(time.Millisecond) { // until it reads
		if hangs, err = syscall.Open(a.configPath, syscall.O_WRONLY|syscall.O_NONBLOCK, 0); err != nil && !errors.Is(err, syscall.ENXIO) {
			t.Fatal(err)
		}
	}
	a.forsakeShelf()
	if err := errors.Join(os.Remove(a.configPath), os.WriteFile(a.configPath, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := (&stock{app: a}).open(t.Context()); !errors.Is(err, wire.ErrNoRepository) {
		t.Errorf("asked again: %v", err)
	}
	if err := syscall.Close(hangs); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the one that hung: %v", err)
	}
}
