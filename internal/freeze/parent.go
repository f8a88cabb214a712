package freeze

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/undo"
)

// patience is how long the guard may be silent after it was told to thaw until we thaw through our own descriptors as well;
// somebody may have stopped it. closeLimit is how long it may take to end.
const (
	patience   = 500 * time.Millisecond
	closeLimit = 10 * time.Second
)

// Guard is the parent's side of a guard process. One guard freezes and thaws once.
type Guard struct {
	points       []point
	deadline     time.Duration
	evidencePath string
	evidence     []byte // shared with the guard
	made         bool   // the evidence file is ours
	process      *exec.Cmd
	started      bool
	socket       *os.File
	note         string

	replies chan reply    // from read
	gone    chan struct{} // closed when the guard has ended, its last thread included

	mu    sync.Mutex
	times Times
	over  bool // the thaw was reported; another undo has nothing to add
}

// read hands on what the guard says until its end.
func (g *Guard) read() {
	defer close(g.gone)
	var buf [1024]byte
	for {
		n, err := g.socket.Read(buf[:])
		if err != nil || n == 0 {
			return
		}
		if r, ok := decodeReply(buf[:n]); ok {
			g.replies <- r // a guard says three things at most: this never blocks
		}
	}
}

// Note says what makes this guard weaker than it should be (no right to lock its memory), or "".
func (g *Guard) Note() string { return g.note }

// PID is the guard's process id.
func (g *Guard) PID() int { return g.process.Process.Pid }

// Times tells what was measured so far.
func (g *Guard) Times() Times {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.times
}

type args struct {
	Run      string  `json:"run"`
	Boot     string  `json:"boot"`
	Evidence string  `json:"evidence"`
	Points   []point `json:"points"`
}

// Step freezes all file systems in order and returns the moment at which the last one stood still. Its undo thaws in reverse; if
// they had been thawed without us it says ErrThawedEarly, once: after that there is nothing left to take back.
func (g *Guard) Step(run string) undo.Step[time.Time] {
	var names []string
	for _, p := range g.points {
		names = append(names, p.Path)
	}
	a := args{Run: run, Boot: undo.BootID(), Evidence: g.evidencePath, Points: g.points}
	return undo.Step[time.Time]{
		Deed: undo.NewDeed(Kind, "freeze", "freeze "+strings.Join(names, " and "), manual(g.points), a),
		Act:  g.freeze,
		Undo: g.thaw,
	}
}

func (g *Guard) freeze(ctx context.Context) (time.Time, error) {
	if _, err := g.socket.Write([]byte{askFreeze}); err != nil {
		return time.Time{}, fmt.Errorf("cannot freeze %s: the guard is gone: %w", g.points[0].Path, err)
	}
	select {
	case r := <-g.replies:
		return g.frozen(r)
	case <-g.gone:
		return time.Time{}, fmt.Errorf("cannot freeze %s: the guard died", g.points[0].Path)
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("cannot freeze %s: %w", g.points[0].Path, ctx.Err())
	}
}

func (g *Guard) frozen(r reply) (time.Time, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.times.Asked = moment(r.first)
	path := g.path(r.point)
	switch {
	case r.kind == sayThawed:
		g.thawedAs(r)
		g.over = true
		return time.Time{}, fmt.Errorf("cannot freeze %s: %w", path, ErrThawedEarly)
	case r.errno == unix.ETIMEDOUT:
		return time.Time{}, fmt.Errorf("cannot freeze %s: the kernel did not get it still inside %v: %w", path, g.deadline, ErrThawedEarly)
	case r.errno != 0:
		return time.Time{}, cannotFreeze(path, r.errno)
	}
	g.times.Frozen = moment(r.second)
	return g.times.Frozen, nil
}

func (g *Guard) path(i uint16) string {
	if int(i) >= len(g.points) {
		i = 0
	}
	return g.points[i].Path
}

func (g *Guard) thaw(ctx context.Context) error {
	g.mu.Lock()
	over := g.over
	g.mu.Unlock()
	if over {
		return nil
	}
	_, _ = g.socket.Write([]byte{askThaw}) // a guard that is gone is seen below
	impatient := time.NewTicker(patience)
	defer impatient.Stop()
	for {
		select {
		case r := <-g.replies:
			if r.kind == sayThawed {
				return g.thawed(r)
			}
		case <-g.gone:
			return g.afterTheGuard()
		case <-impatient.C:
			early, err := g.thawHere(frozen)
			if err == nil && !g.holds() {
				return g.thawedHere(early)
			}
		case <-ctx.Done():
			return fmt.Errorf("cannot thaw %s yet: the kernel is still freezing it: %w", g.points[0].Path, ctx.Err())
		}
	}
}

// thawed takes the guard's last word.
func (g *Guard) thawed(r reply) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.errno != 0 {
		return fmt.Errorf("cannot thaw %s: %w", g.path(r.point), r.errno)
	}
	g.over = true
	g.thawedAs(r)
	stood := !g.times.Frozen.IsZero()
	switch {
	case stood && r.why == byOthers:
		return fmt.Errorf("%s was thawed by somebody else: %w", g.path(r.point), ErrThawedEarly)
	case stood && r.why == onDeadline:
		return fmt.Errorf("the guard thawed after %v: %w", g.deadline, ErrThawedEarly)
	case stood && r.why != onCommand:
		return ErrThawedEarly
	}
	return nil
}

func (g *Guard) thawedAs(r reply) {
	if !g.times.Asked.IsZero() {
		g.times.Thawed = moment(r.second)
	}
}

// afterTheGuard is for a guard that ended: with a last word that waits, or killed, and then we thaw ourselves. If all
// that it had frozen is still frozen then, the freeze lasted until now.
func (g *Guard) afterTheGuard() error {
	for {
		select {
		case r := <-g.replies:
			if r.kind == sayThawed {
				return g.thawed(r)
			}
			continue
		default:
		}
		break
	}
	early, err := g.thawHere(frozen, freezing)
	if err != nil {
		return err
	}
	return g.thawedHere(early)
}

func (g *Guard) thawedHere(early bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	stood := !g.times.Frozen.IsZero()
	if stood {
		g.times.Thawed = time.Now()
	}
	if stood && early {
		return fmt.Errorf("the guard failed: %w", ErrThawedEarly)
	}
	return nil
}

// holds reports that something is frozen or may become so.
func (g *Guard) holds() bool { return strings.ContainsAny(string(g.evidence), "fF") }

// thawHere thaws through our own descriptors what the evidence says is in one of the states, last first. Early says
// that something which should have stood was not frozen any more.
func (g *Guard) thawHere(states ...byte) (early bool, err error) {
	var all []error
	for i := len(g.points) - 1; i >= 0; i-- {
		state := g.evidence[i]
		if !strings.Contains(string(states), string(state)) {
			early = early || state == thawed
			continue
		}
		switch errno := ioctlThaw(int(g.points[i].dir.Fd())); errno {
		case 0:
			g.evidence[i] = thawed
		case unix.EINVAL:
			g.evidence[i] = thawed
			early = true
		default:
			all = append(all, fmt.Errorf("cannot thaw %s: %w", g.points[i].Path, errno))
		}
	}
	return early, errors.Join(all...)
}
