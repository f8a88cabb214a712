package holder

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/freeze"
	"github.com/holdstill/holdstill/internal/hook"
)

// actor is an instance that goes to the gate as a backup does, with faults that a test chooses.
type actor struct {
	scene *scene
	name  string
	busy  int           // so many times it cannot hold
	fails error         // instead of holding
	slow  time.Duration // before it is ready
	worth catalog.Consistency
	stuck chan struct{} // after it released: a ledger on a disk that the host has frozen

	tries int
}

func (a *actor) take(ctx context.Context, seat *Seat) (*catalog.Point, error) {
	for {
		point, err := a.attempt(ctx, seat)
		if !errors.Is(err, database.ErrBusy) {
			return point, err
		}
		seat.Leave()
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (a *actor) attempt(ctx context.Context, seat *Seat) (*catalog.Point, error) {
	a.tries++
	seat.Enter([]string{"/srv/" + a.name})
	if err := errors.Join(pause(ctx, a.slow), seat.Ready(ctx)); err != nil {
		return nil, err
	}
	if a.busy > 0 {
		a.busy--
		time.Sleep(time.Second)
		return nil, database.ErrBusy
	}
	if a.fails != nil {
		return nil, a.fails
	}
	a.scene.hold(a.name, true)
	said, err := seat.Pass(ctx)
	a.scene.hold(a.name, false)
	if a.stuck != nil {
		<-a.stuck
	}
	if err != nil {
		return nil, err
	}
	return &catalog.Point{ID: a.name, Consistency: a.worth, ConsistencyReason: said["pre"] + said["post"]}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scene is a host, and the instances that it wants to be held.
type scene struct {
	t      *testing.T
	actors []*actor
	c      *Conductor
	calls  chan Request
	told   chan Result // to the host's pre
	ended  chan Result
	cancel context.CancelFunc

	mu   sync.Mutex
	held []string
}

func begin(t *testing.T, change func(*scene), actors ...*actor) *scene {
	s := &scene{t: t, actors: actors, calls: make(chan Request), told: make(chan Result, 1), ended: make(chan Result, 1)}
	s.c = &Conductor{
		Terms: hook.Terms{Limit: 20 * time.Second, Hold: time.Minute}, Calls: s.calls, Details: map[string]string{"pre": "disks "},
		Held: func(r Result) error { s.told <- r; return nil },
	}
	for _, a := range actors {
		a.scene = s
		if a.worth == "" {
			a.worth = catalog.Application
		}
		s.c.Parties = append(s.c.Parties, Party{Name: a.name, Take: a.take})
	}
	if change != nil {
		change(s)
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(t.Context())
	go func() { s.ended <- s.c.Conduct(ctx) }()
	return s
}

func (s *scene) hold(name string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held = slices.DeleteFunc(s.held, func(h string) bool { return h == name }); on {
		s.held = append(s.held, name)
	}
}

func (s *scene) holds(n int) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) != n {
		s.t.Errorf("%v are held, not %d", s.held, n)
	}
}

func (s *scene) awaitHeld() {
	s.t.Helper()
	if r := <-s.told; r.Outcome != hook.Held {
		s.t.Errorf("%+v", r)
	}
	s.holds(len(s.actors))
}

func (s *scene) ends(outcome hook.Outcome, points int, words ...string) {
	s.t.Helper()
	r := <-s.ended
	s.cancel()
	if r.Outcome != outcome || len(r.Points) != points {
		s.t.Errorf("%s with %d points, not %s with %d: %v", r.Outcome, len(r.Points), outcome, points, r.Err)
	}
	if (r.Err == nil) != (outcome == hook.Released) {
		s.t.Errorf("%s: %v", outcome, r.Err)
	}
	for _, word := range words {
		if r.Err == nil || strings.Count(r.Err.Error(), word) != 1 {
			s.t.Errorf("not once %q: %v", word, r.Err)
		}
	}
	select {
	case told := <-s.told:
		s.t.Errorf("pre was told %s", told.Outcome)
	default:
	}
	s.holds(0)
}

func post() Request { return Request{Verb: hook.Post, Details: map[string]string{"post": "done"}} }

func TestHeldAndReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil, &actor{name: "a"}, &actor{name: "b", slow: time.Second}, &actor{name: "c"})
		s.awaitHeld()
		time.Sleep(59 * time.Second)
		s.holds(3)
		s.calls <- post()
		r := <-s.ended
		s.holds(0)
		if r.Outcome != hook.Released || r.Err != nil || len(r.Points) != 3 {
			t.Fatalf("%+v", r)
		}
		for _, p := range r.Points {
			if p.ConsistencyReason != "disks done" {
				t.Errorf("%s knows %q of the host", p.ID, p.ConsistencyReason)
			}
		}
	})
}

// TestTogether: while one is busy nobody stays held, and they try again together.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &actor{name: "a"}, &actor{name: "b", busy: 2}, &actor{name: "c"}
		s := begin(t, nil, a, b, c)
		time.Sleep(time.Second / 2)
		s.holds(2)
		time.Sleep(600 * time.Millisecond) // b has given up, and pauses
		s.holds(0)
		s.awaitHeld()
		if a.tries != 3 || b.tries != 3 || c.tries != 3 {
			t.Error(a.tries, b.tries, c.tries)
		}
		s.calls <- post()
		s.ends(hook.Released, 3)
	})
}

func TestOneFails(t *testing.T) {
	for outcome, err := range map[hook.Outcome]error{
		hook.NotReady: errors.Join(ErrNotReady, errors.New("no server")),
		hook.Failed:   errors.New("no right to lock"),
	} {
		synctest.Test(t, func(t *testing.T) {
			s := begin(t, nil, &actor{name: "a"}, &actor{name: "b", fails: err}, &actor{name: "c", slow: time.Second})
			s.ends(outcome, 0, "b: "+err.Error())
		})
	}
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s := begin(t, func(s *scene) { s.c.Waited = 15 * time.Second }, &actor{name: "a"}, &actor{name: "b", slow: time.Hour})
		s.ends(hook.TimedOut, 0)
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("after %s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(s *scene) { s.c.Waited = time.Minute }, &actor{name: "a"})
		s.ends(hook.TimedOut, 0)
	})
}

// TestDeadline: the host has frozen the disk that a ledger lies on, and died. All are released all the same.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		thawed := make(chan struct{})
		s := begin(t, nil, &actor{name: "a", stuck: thawed}, &actor{name: "b", stuck: thawed}, &actor{name: "c"})
		s.awaitHeld()
		time.Sleep(time.Minute)
		s.holds(0)
		close(thawed)
		s.ends(hook.Expired, 0, ErrExpired.Error())
	})
}

func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // while one is busy, and in its pause
		for _, after := range []time.Duration{500 * time.Millisecond, 1100 * time.Millisecond} {
			s := begin(t, nil, &actor{name: "a"}, &actor{name: "b", busy: 9})
			time.Sleep(after)
			s.calls <- Request{Verb: hook.Abort}
			s.ends(hook.Aborted, 0, ErrAborted.Error())
		}
	})
	synctest.Test(t, func(t *testing.T) { // while all are held
		s := begin(t, nil, &actor{name: "a"}, &actor{name: "b"})
		s.awaitHeld()
		s.calls <- Request{Verb: hook.Abort}
		s.ends(hook.Aborted, 0, ErrAborted.Error())
	})
}

// TestEarlyPost: neither the pre that was at work nor the post may be taken for a success.
func TestEarlyPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil, &actor{name: "a"}, &actor{name: "b", slow: time.Second})
		s.calls <- post()
		s.ends(hook.Aborted, 0, ErrEarly.Error())
	})
	if hook.Aborted.Good(hook.Pre) || hook.Aborted.Good(hook.Post) || !hook.Aborted.Good(hook.Abort) {
		t.Error("an abort is good for whom it was asked of only")
	}
}

// TestInterrupted: what was held until then was lost, and the post must not hear that pre had failed.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil, &actor{name: "a"}, &actor{name: "b", slow: time.Second})
		s.cancel()
		s.ends(hook.Failed, 0, "interrupted")
	})
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil, &actor{name: "a"}, &actor{name: "b"})
		s.awaitHeld()
		s.cancel()
		s.ends(hook.Lost, 0, "interrupted")
	})
}

// TestInterruptedAtTheGate: the end and the gate are there at once, and pre must not hear that anything is held.
func TestInterruptedAtTheGate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		c := &conducting{gate: newGate(1), Conductor: &Conductor{Terms: hook.Terms{Limit: time.Minute}, Held: func(Result) error {
			t.Error("pre was told")
			return nil
		}}}
		c.gate.held <- c.gate.current
		c.untilOver(ctx)
		if c.outcome != hook.Failed {
			t.Error(c.outcome)
		}
	}
}

func TestPreIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(s *scene) { s.c.Held = func(Result) error { return errors.New("broken pipe") } }, &actor{name: "a"})
		s.ends(hook.Aborted, 0, "broken pipe")
	})
}

func TestPointBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, nil, &actor{name: "a"}, &actor{name: "b", worth: catalog.Filesystem})
		s.awaitHeld()
		s.calls <- post()
		s.ends(hook.Lost, 2, "b: point b is filesystem")
	})
}

// TestNoWindowAfterTheHost: who comes to the gate after the snapshot holds nothing for it.
func TestNoWindowAfterTheHost(t *testing.T) {
	for range 50 {
		g := newGate(2)
		first, second := &Seat{gate: g}, &Seat{gate: g}
		first.join()
		second.join()
		g.end(nil, freeze.Times{}, nil)
		first.Leave() // has recorded its point
		if _, err := second.Pass(t.Context()); err != nil {
			t.Error("the end of one run broke into another's:", err)
		}
		second.Leave()
		if err := second.Ready(t.Context()); !errors.Is(err, errOver) {
			t.Error(err)
		}
	}
}
