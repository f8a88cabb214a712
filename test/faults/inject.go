package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
)

// runLimit is from when on a run counts as one that does not end. Recover waits 30 s for a server that is down.
const runLimit = 3 * time.Minute

// verdict is what one fault showed.
type verdict struct {
	injection
	missed         bool // the run ended before the boundary: nothing was injected
	hung           bool // it did not end in time, by far
	code           int
	left           []string // behind
	lost, invented int      // commits
	claims         []string // that were wrong
	bounds         []string // that did not hold
	frozen         time.Duration
	stalled        time.Duration
	letGo          time.Duration // after a SIGKILL of the main process
	restored       int
	own            *catalog.Point
	next           string // the point of the backup that took back, if it was one
	took           time.Duration
	said           string
}

func (v *verdict) red() bool {
	return len(v.left)+v.lost+v.invented+len(v.claims)+len(v.bounds) > 0
}

// again says that the fault is tried once more: it was never injected, or nothing is wrong but the times. A run that hangs is no noise.
func (v *verdict) again() bool {
	return (v.missed || len(v.bounds) > 0) && !v.hung && len(v.left)+v.lost+v.invented+len(v.claims) == 0
}

// inject starts a backup, breaks it, lets recover take back what is left, and looks at the world. An error means that the campaign
// itself failed: its world is not what it should be, and is of no more use.
func (w *world) inject(i injection, seed uint64) (*verdict, error) {
	v := &verdict{injection: i}
	begun := time.Now()
	defer func() { v.took = time.Since(begun) }()
	if err := within(30*time.Second, func() error { return w.asBefore(w.normal) }); err != nil {
		return nil, fmt.Errorf("the world is not as it should be before %s: %w", i, err)
	}
	w.probe.longest()
	a := actorNamed(i.actor)
	c := &scene{world: w, injection: i, random: dice(i.String(), seed)}
	if err := c.play(a, v); err != nil {
		return nil, fmt.Errorf("%s: %w", i, err)
	}
	v.code, v.said = c.run.code, c.run.read("stderr")
	c.judgeTimes(a, v, begun)
	v.claims = append(v.claims, c.claims...)
	c.judgeCode(a, v)
	if v.code == 1 && (!a.grave || a.kind == "error") && !v.missed {
		v.left = append(v.left, prefixed("after exit code 1: ", w.leftBehind(w.normal))...)
	}
	if a.heal != nil && !v.missed {
		if err := a.heal(c); err != nil {
			return nil, fmt.Errorf("%s: cannot heal: %w", i, err)
		}
	}
	if err := c.takeBack(v); err != nil {
		return nil, err
	}
	v.left = append(v.left, w.leftBehind(w.normal)...)
	lost, invented, err := w.missing()
	if err != nil {
		return nil, err
	}
	v.lost, v.invented = lost, invented
	if !w.commits(time.Now(), 5*time.Second) {
		v.bounds = append(v.bounds, "no commit came through for 5 s after all was taken back")
	}
	return v, w.judgePoints(a, c.injection, v)
}

// play brings the run to the boundary and lets the actor act there.
func (c *scene) play(a actor, v *verdict) (err error) {
	kind := a.kind
	if kind == "" {
		kind = "pause"
	}
	if c.run, err = c.start(fmt.Sprintf("%s:%s:%d", c.base(), kind, c.passage()), "--json", "backup", "--mode", c.mode); err != nil {
		return err
	}
	v.missed = !c.run.reaches(c.base(), c.passage(), runLimit)
	if a.act != nil && !v.missed {
		if err := a.act(c); err != nil {
			c.run.open()
			c.run.wait(runLimit)
			return err
		}
	}
	c.run.open()
	if c.run.wait(runLimit) == -2 {
		v.hung = true
		v.bounds = append(v.bounds, fmt.Sprintf("the run did not end within %s; what it and the servers were at is in %s", runLimit, c.run.kept))
	}
	if a.kind == "kill" && c.run.code == -1 {
		c.killedAt = time.Now()
	}
	return nil
}

// judgeTimes holds the bounds against what the witnesses saw: the writers, and who writes to the volume.
func (c *scene) judgeTimes(a actor, v *verdict, begun time.Time) {
	const noise = 700 * time.Millisecond // of a machine whose two cores have other things to do
	if c.actor == "kill-both" {
		return // then nobody is left who could thaw, but recover
	}
	if !c.killedAt.IsZero() {
		thawed := c.probe.flows(3 * time.Second)
		committed := !c.holdsWriters() || c.commits(c.killedAt, 3*time.Second)
		v.letGo = time.Since(c.killedAt)
		if !thawed || !committed || v.letGo > time.Second+noise {
			v.bounds = append(v.bounds, fmt.Sprintf("after a SIGKILL thawed: %v, commits: %v, in %s; 1s is promised", thawed, committed, v.letGo.Round(time.Millisecond)))
		}
	}
	if a.stalls {
		return
	}
	v.frozen = c.probe.longest()
	if v.frozen > c.deadline()+noise {
		v.bounds = append(v.bounds, fmt.Sprintf("the volume took no writes for %s; the deadline is %s", v.frozen.Round(time.Millisecond), c.deadline()))
	}
	if c.holdsWriters() {
		v.stalled = c.world.stalled(begun)
		if v.stalled > maxStall+time.Second+noise {
			v.bounds = append(v.bounds, fmt.Sprintf("a commit waited for %s; max-stall is %s", v.stalled.Round(time.Millisecond), maxStall))
		}
	}
}

// holdsWriters says that the server which is held is the writers' own, so that they see every stall.
func (c *scene) holdsWriters() bool { return c.mode == "hot" && c.origin == c.subject }

// judgeCode: 6 is for what cannot be taken back, which only a world that is broken prevents.
func (c *scene) judgeCode(a actor, v *verdict) {
	switch v.code {
	case 0, 1, 3, -1, -2:
	case 6:
		if !a.grave {
			v.claims = append(v.claims, "it says that something cannot be taken back (exit code 6), and nothing prevents it")
		}
	default:
		v.claims = append(v.claims, fmt.Sprintf("exit code %d", v.code))
	}
}

// takeBack runs recover, which must succeed, and once more: then there is nothing left to do. Now and then it is the next backup that
// takes back, as it will be where nobody was called.
func (c *scene) takeBack(v *verdict) error {
	w := c.world
	if c.random.IntN(4) == 0 {
		if err := c.nextBackup(v); err != nil {
			return err
		}
	}
	for n := range 2 {
		r, err := w.holdstill(runLimit, "--json", "recover")
		if err != nil {
			return err
		}
		var done struct {
			Back []any `json:"taken_back"`
		}
		if err := json.Unmarshal([]byte(r.read("stdout")), &done); r.code != 0 || err != nil || n == 1 && len(done.Back) > 0 {
			v.left = append(v.left, fmt.Sprintf("recover %d ended with %d: %s; the servers: %s", n+1, r.code, r.said(), w.evidence()))
			v.said += "\nrecover:\n" + r.said()
		}
	}
	return nil
}

// nextBackup takes back first, and then works, or says that the server is too busy.
func (c *scene) nextBackup(v *verdict) error {
	r, err := c.holdstill(runLimit, "--json", "backup")
	if err != nil {
		return err
	}
	var next catalog.Point
	err = json.Unmarshal([]byte(r.read("stdout")), &next)
	if busy := r.code == 1 && strings.Contains(r.said(), "nothing is held"); !busy && (r.code != 0 || err != nil) {
		v.left = append(v.left, fmt.Sprintf("the next backup ended with %d: %s", r.code, r.said()))
	}
	v.next = next.ID
	return nil
}

// judgePoints looks at every point that is there now, and forgets it.
func (w *world) judgePoints(a actor, i injection, v *verdict) error {
	points, err := w.recorded()
	if err != nil {
		return err
	}
	for _, p := range points {
		if p.ID != v.next {
			v.own = p
		}
	}
	v.claims = append(v.claims, wrongClaims(a, i, v)...)
	for _, p := range points {
		w.points++
		if p.Consistency != catalog.Application || w.points%w.every != 0 || a.rekeys && p.ID != v.next {
			continue
		}
		lost, invented, err := w.exact(p)
		if err != nil {
			v.claims = append(v.claims, fmt.Sprintf("the point %s says application, and: %v", p.ID, err))
			continue
		}
		v.restored++
		v.lost, v.invented = v.lost+lost, v.invented+invented
		if lost+invented > 0 {
			v.claims = append(v.claims, fmt.Sprintf("the point %s says application, lacks %d commits and has %d that come after it", p.ID, lost, invented))
		}
	}
	return w.forgetPoints()
}

// wrongClaims compares what the run said at its end with the point that it left.
func wrongClaims(a actor, i injection, v *verdict) []string {
	// Between the hold and the end of the cut nothing of this can be survived.
	broken := a.breaks && i.mode != "cold" && between(i.boundary, "hold.acted", "cut.act") && !v.missed
	switch {
	case v.own == nil && (v.code == 0 || v.code == 3):
		return []string{fmt.Sprintf("exit code %d without a point", v.code)}
	case v.own == nil:
		return nil
	case v.code == 1:
		return []string{"exit code 1 with a point: " + v.own.ID}
	case v.code == 0 && v.own.Consistency != catalog.Application:
		return []string{fmt.Sprintf("exit code 0 with a point that is %s", v.own.Consistency)}
	case broken && v.own.Consistency == catalog.Application:
		return []string{"the hold was broken before the cut, and the point " + v.own.ID + " says application"}
	}
	return nil
}

func prefixed(prefix string, list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, prefix+s)
	}
	return out
}
