package holder

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/freeze"
)

// gate is where the runs of all instances meet: first when each is ready to hold, then when each holds, then when the host is
// done. If one of them cannot hold, the others let go and try again with it.
type gate struct {
	parties int
	ready   chan *round // to the conductor: everybody is ready
	held    chan *round // to the conductor: everybody holds
	over    chan struct{}

	mu      sync.Mutex
	isOver  bool
	current *round
	mounts  []string
	said    map[string]string // by the host, with over
	verdict error             // with over
	frozen  freeze.Times      // with over
}

// round is one attempt of all.
type round struct {
	ready, held  int
	open, broken chan struct{}
	isOpen       bool
	isBroken     bool
}

func newGate(parties int) *gate {
	return &gate{parties: parties, ready: make(chan *round, 1), held: make(chan *round, 1), over: make(chan struct{}), current: newRound()}
}

func newRound() *round { return &round{open: make(chan struct{}), broken: make(chan struct{})} }

// toFreeze lists the mount points of all, those below others first and "/" last.
func (g *gate) toFreeze() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := slices.Sorted(slices.Values(g.mounts))
	slices.Reverse(out)
	return out
}

// openRound lets everybody into the window.
func (g *gate) openRound(r *round) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !r.isOpen && !r.isBroken {
		r.isOpen = true
		close(r.open)
	}
}

// end lets everybody out: with nil the snapshot was taken.
func (g *gate) end(said map[string]string, frozen freeze.Times, verdict error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isOver, g.said, g.frozen, g.verdict = true, said, frozen, verdict
	close(g.over)
}

// Seat is one run's place at the gate: what package external calls a Gate.
type Seat struct {
	gate  *gate
	round *round // that it takes part in; nil outside of an attempt
}

// Enter begins an attempt.
func (s *Seat) Enter(mountpoints []string) {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	for _, m := range mountpoints {
		if !slices.Contains(s.gate.mounts, m) {
			s.gate.mounts = append(s.gate.mounts, m)
		}
	}
}

// Ready waits until every run is about to hold, so that none holds while another still prepares.
func (s *Seat) Ready(ctx context.Context) error {
	r := s.join()
	select {
	case <-r.open:
		return nil
	case <-r.broken:
		return busyBecause(errOther)
	case <-s.gate.over:
		return cmp.Or(s.gate.verdict, errOver)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Seat) join() *round {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	s.round = s.gate.current
	s.round.ready++
	if s.round.ready == s.gate.parties {
		s.gate.ready <- s.round
	}
	return s.round
}

// Pass announces that this run holds, and waits for the host.
func (s *Seat) Pass(ctx context.Context) (map[string]string, error) {
	s.gate.mu.Lock()
	s.round.held++
	if s.round.held == s.gate.parties {
		s.gate.held <- s.round
	}
	r := s.round
	s.gate.mu.Unlock()
	select {
	case <-s.gate.over:
		return s.gate.said, s.gate.verdict
	case <-r.broken:
		return nil, busyBecause(errOther)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Leave ends an attempt. One that was in the window and did not get everybody through it breaks the round: the others let go at once.
func (s *Seat) Leave() {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	r := s.round
	s.round = nil
	switch {
	case r == nil || r.isBroken || s.gate.isOver:
	case !r.isOpen && r.ready < s.gate.parties:
		r.ready--
	default:
		r.isBroken = true
		close(r.broken)
		if s.gate.current == r {
			s.gate.current = newRound()
		}
	}
}

// Frozen tells the freeze around the host's snapshot, if it was ours.
func (s *Seat) Frozen() freeze.Times {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	return s.gate.frozen
}

// busyBecause makes the engine try again.
func busyBecause(err error) error { return fmt.Errorf("%w: %w", database.ErrBusy, err) }
