package retain

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
)

// judge decides about the points of one group.
type judge struct {
	group   group
	policy  Policy
	rules   []rule
	zone    *time.Location
	now     time.Time
	points  []*catalog.Point            // newest first
	usable  []*catalog.Point            // those that a restore would take
	why     map[*catalog.Point][]string // why they are kept
	holders map[string]*catalog.Point   // by rule and period, who is kept for it
}

func newJudge(g group, points []*catalog.Point, policy Policy, now time.Time) *judge {
	j := &judge{group: g, policy: policy, rules: policy.rules(), zone: policy.Location, now: now, points: points,
		why: map[*catalog.Point][]string{}, holders: map[string]*catalog.Point{}}
	if j.zone == nil {
		j.zone = time.UTC
	}
	slices.SortFunc(j.points, func(a, b *catalog.Point) int { return catalog.ByAge(b, a) })
	for _, p := range j.points {
		if p.Status != catalog.Expired {
			j.usable = append(j.usable, p)
		}
	}
	return j
}

func (j *judge) keep(p *catalog.Point, format string, args ...any) {
	j.why[p] = append(j.why[p], fmt.Sprintf(format, args...))
}

// shipping says that points of this group belong into a repository.
func (j *judge) shipping() bool { return j.policy.Repository && !j.group.byHost }

func (j *judge) grade(p *catalog.Point) grade {
	if g := consistency(p); g < application || !j.shipping() || !inRepository(p) {
		return g
	}
	return stored
}

// verdicts collects all that speaks for each point, even if one thing would do: who lifts a pin shall see what comes then.
func (j *judge) verdicts() []Verdict {
	j.keepPinned()
	for _, r := range j.rules {
		j.obey(r)
	}
	j.keepNewest()
	j.keepYoung()
	j.keepUnshipped()
	j.keepAll()
	out := make([]Verdict, 0, len(j.points))
	for _, p := range j.points {
		v := Verdict{Point: p, Keep: len(j.why[p]) > 0, Reasons: j.why[p]}
		if !v.Keep {
			v.Reasons = j.whyNot(p)
		}
		out = append(out, v)
	}
	j.judgeLocal(out)
	slices.Reverse(out)
	return out
}

// keepAll is for a policy without rules: nobody said what may go.
func (j *judge) keepAll() {
	if len(j.rules) > 0 {
		return
	}
	for _, p := range j.points {
		j.keep(p, "no rule says what may go: every point is kept")
	}
}

func (j *judge) keepPinned() {
	for _, p := range j.points {
		if p.Pinned {
			j.keep(p, "pinned")
		}
	}
}

// keepNewest keeps what a restore would want today: the newest of the best grade, and the newest application-consistent one
// even if it waits for its shipping, or failed a verification, whose scratch server may have been at fault.
func (j *judge) keepNewest() {
	if len(j.usable) == 1 {
		j.keep(j.usable[0], "the only usable one of %s", j.group.instance)
		return
	}
	var best, held *catalog.Point
	for _, p := range j.usable {
		if best == nil || j.grade(p) > j.grade(best) {
			best = p
		}
		if held == nil && p.Consistency == catalog.Application {
			held = p
		}
	}
	if best != nil {
		j.keep(best, "the newest usable one of %s that is %s", j.group.instance, j.grade(best))
	}
	if held != nil && held != best {
		j.keep(held, "the newest application-consistent one of %s", j.group.instance)
	}
}

func (j *judge) keepYoung() {
	for _, p := range j.points {
		switch age := j.now.Sub(p.TakenAt); {
		case age >= j.policy.MinAge || j.policy.MinAge <= 0:
		case age < 0:
			j.keep(p, "younger than %s: its time has not come yet, the clock was set back", j.policy.MinAge)
		default:
			j.keep(p, "younger than %s", j.policy.MinAge)
		}
	}
}

// keepUnshipped keeps what only this machine has, until a newer and no worse one is in the repository.
func (j *judge) keepUnshipped() {
	if !j.shipping() {
		return
	}
	there := grade(-1)
	for _, p := range j.usable {
		switch {
		case inRepository(p):
			there = max(there, consistency(p))
		case consistency(p) > there:
			j.keep(p, "not in the repository yet, nor is a newer one that is as good")
		}
	}
}

// whyNot tells why nothing speaks for a point, and who is kept in its place by the finest rule that keeps one.
func (j *judge) whyNot(p *catalog.Point) []string {
	if p.Status == catalog.Expired {
		return []string{"expired: its removal was begun, nothing can be restored from it"}
	}
	out := []string{"beyond every rule: " + names(j.rules)}
	for _, r := range j.rules {
		if period := j.period(r, p); j.holders[r.name+period] != nil {
			out = append(out, fmt.Sprintf("%s: %s is kept for %s", r.name, j.holders[r.name+period].ID, period))
			break
		}
	}
	if j.shipping() && !inRepository(p) {
		out = append(out, "not in the repository, but a newer one that is as good is")
	}
	return out
}

// judgeLocal lets local cuts go, of points whose copy is elsewhere. A pin holds the cut too: it says to leave a point alone.
func (j *judge) judgeLocal(verdicts []Verdict) {
	var q queue
	for i := range verdicts {
		v := &verdicts[i]
		v.KeepLocal = v.Keep
		if !v.Keep || v.Point.Status == catalog.Expired || j.policy.LocalNewest <= 0 || !j.shipping() {
			continue
		}
		if q.place(consistency(v.Point), v.Point.ID) <= j.policy.LocalNewest {
			continue
		}
		v.KeepLocal = v.Point.Pinned || !inRepository(v.Point)
		if v.DropsLocal() {
			v.Reasons = append(v.Reasons, fmt.Sprintf("beyond local %d: its local cut goes, the repository has a copy", j.policy.LocalNewest))
		}
	}
}
