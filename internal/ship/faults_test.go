package ship_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab/store"
	"github.com/holdstill/holdstill/internal/repository/kopia"
	"github.com/holdstill/holdstill/internal/ship"
)

const enough = 2 * time.Minute // for a ship that gets there in the end

// TestFaultsOfAStore ships through a network and to a store that are not what they should be: it gets there, and sends little twice.
func TestFaultsOfAStore(t *testing.T) {
	every := func(f store.Faults, k int) store.Faults { f.Every = k; return f }
	e := store.S3(t, scratch(t))
	for name, c := range map[string]struct {
		faults store.Faults
		again  int64 // bytes that may have to be sent again
		stored bool  // what was sent again had been stored the first time
	}{
		"slow":                {faults: store.Faults{Rate: 24 * mib, Latency: 20 * time.Millisecond}},
		"busy now and then":   {faults: every(store.Busy, 3), again: 3 * pack},
		"broken now and then": {faults: every(store.Broken, 4), again: 3 * pack},
		"uploads are cut":     {faults: store.Faults{CutUp: 5 * mib, First: 3}, again: 3 * pack},
		"answers are lost":    {faults: store.Faults{LoseAnswers: true, First: 3, Match: store.IsUpload}, again: 3 * pack, stored: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := store.Through(t, e)
			at := strings.ReplaceAll(name, " ", "-")
			client := newClient(t, 50*mib)
			client.made(settings(t, s3(t, p.Endpoint(), at), "a"))
			p.Reset()
			p.Set(c.faults)
			if _, err := client.ship("one", "a", enough, time.Minute, nil); err != nil {
				t.Fatal(err)
			}
			stats := p.Stats()
			if c.faults.Rate == 0 && stats.Struck == 0 {
				t.Error("the fault never struck")
			}
			if stats.Up > client.size+c.again+2*mib {
				t.Errorf("%d bytes were sent for %d", stats.Up, client.size)
			}
			if twice := stats.Twice(); len(twice) > 0 && !c.stored {
				t.Errorf("stored twice: %v", twice)
			}
			p.Set(store.Faults{})
			client.holds(settings(t, s3(t, e, at), "b"), "one")
		})
	}
}

// TestStoreGoesAway in the middle, and comes back: the point gets there, by the client's patience or by ours.
func TestStoreGoesAway(t *testing.T) {
	e := store.S3(t, scratch(t))
	p := store.Through(t, e)
	client := newClient(t, 70*mib)
	client.made(settings(t, s3(t, p.Endpoint(), "away"), "a"))
	p.Reset()
	p.Set(store.Faults{Rate: 40 * mib})
	var once sync.Once
	back := make(chan error, 1)
	_, err := client.ship("one", "a", enough, time.Minute, func(ev ship.Event) {
		if ev.Counts.Uploaded > 20*mib {
			once.Do(func() {
				go func() {
					err := e.Kill()
					time.Sleep(3 * time.Second)
					back <- errors.Join(err, e.Start())
				}()
			})
		}
	})
	check(t, err)
	select {
	case err := <-back:
		check(t, err)
	default:
		t.Fatal("the store never went away")
	}
	if up := p.Stats().Up; up > client.size+3*pack {
		t.Errorf("%d bytes were sent for %d", up, client.size)
	}
	client.holds(settings(t, s3(t, e, "away"), "b"), "one")
}

// TestGivesUp: a store that refuses is not asked for ever, nothing is seen of the point, and the next attempt takes up what was sent.
func TestGivesUp(t *testing.T) {
	e := store.S3(t, scratch(t))
	for name, faults := range map[string]store.Faults{"denied": store.Denied, "no space": store.NoSpace} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := store.Through(t, e)
			at := strings.ReplaceAll(name, " ", "-")
			client := newClient(t, 50*mib)
			client.made(settings(t, s3(t, p.Endpoint(), at), "a"))
			p.Reset()
			refuse := faults
			var once sync.Once
			begun := time.Now()
			_, err := client.ship("one", "a", enough, 0, func(ev ship.Event) {
				if ev.Counts.Uploaded > 18*mib {
					once.Do(func() { p.Set(refuse) })
				}
			})
			if err == nil || !strings.Contains(err.Error(), faults.Message) {
				t.Fatalf("after %s: %v does not say %q", time.Since(begun), err, faults.Message)
			}
			t.Logf("gave up after %s: %v", time.Since(begun).Round(time.Millisecond), err)
			p.Set(store.Faults{})
			client.holds(settings(t, s3(t, e, at), "b"))
			before := p.Stats().Up
			if _, err := client.ship("one", "a", enough, 0, nil); err != nil {
				t.Fatal(err)
			}
			if up := p.Stats().Up - before; up > client.size-18*mib+pack {
				t.Errorf("%d bytes were sent again of %d, most of which were there", up, client.size)
			}
			client.holds(settings(t, s3(t, e, at), "c"), "one")
		})
	}
}

// TestFullDisk: a directory without room says so at once; with room, the next attempt sends only what is missing.
func TestFullDisk(t *testing.T) {
	disk := store.Full(t, t.TempDir(), 200*mib)
	at := kopia.Location{URL: filepath.Join(disk.Dir, "store")}
	client := newClient(t, 90*mib)
	client.made(settings(t, at, "a"))
	check(t, disk.Fill(60*mib))
	_, err := client.ship("one", "a", enough, enough, nil)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("the error says no word of the room: %v", err)
	}
	t.Log(err)
	check(t, disk.Fill(1<<40))
	client.holds(settings(t, at, "b"))
	result, err := client.ship("one", "a", enough, 0, nil)
	check(t, err)
	if sent := result.Counts.Uploaded; sent > client.size-60*mib+2*pack {
		t.Errorf("%d bytes of %d were sent in the second attempt", sent, client.size)
	}
	client.holds(settings(t, at, "c"), "one")
}

// TestManyAtOnce: two machines ship to one store, and the one that waits for nobody is seen by both.
func TestManyAtOnce(t *testing.T) {
	e := store.S3(t, scratch(t))
	a, b := newClient(t, 30*mib), newClient(t, 30*mib)
	a.made(settings(t, s3(t, e, "many"), "a"))
	b.opened(settings(t, s3(t, e, "many"), "b"))
	done := make(chan error, 2)
	go func() { _, err := a.ship("one", "a", enough, 0, nil); done <- err }()
	go func() { _, err := b.ship("two", "b", enough, 0, nil); done <- err }()
	check(t, errors.Join(<-done, <-done))
	a.holds(settings(t, s3(t, e, "many"), "c"), "one", "two")
	again, err := a.ship("one", "a", enough, 0, nil)
	check(t, err)
	if !again.There || again.ID == "" {
		t.Errorf("a point that is there was shipped again: %+v", again)
	}
}

// TestCancelled: a ship that is broken off ends soon, and is nothing.
func TestCancelled(t *testing.T) {
	e := store.S3(t, scratch(t))
	p := store.Through(t, e)
	client := newClient(t, 50*mib)
	client.made(settings(t, s3(t, p.Endpoint(), "cancelled"), "a"))
	p.Set(store.Faults{Hang: true})
	begun := time.Now()
	_, err := client.ship("one", "a", 3*time.Second, time.Hour, nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 20*time.Second {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
	p.Set(store.Faults{})
	client.holds(settings(t, s3(t, e, "cancelled"), "b"))
}
