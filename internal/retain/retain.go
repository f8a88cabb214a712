// Package retain decides which restore points are kept, and says why of each, of those that go too. It is pure: points, a
// policy and the time in, verdicts out; what a dry run prints is what a prune carries out.
//
// # What counts
//
// A rule keeps the newest point of each of the last so many periods. Only periods that have a point count: after a month
// without backups "daily 7" still keeps seven. So no count depends on the time of day: a clock that runs wild can make
// points look old, and take the shelter of MinAge from them, but it makes no rule keep fewer. Rules do not know of each
// other; a point is kept if one of them wants it.
//
// Newer is who was recorded later (catalog.ByAge), whatever the clock said. The clock only names the period.
//
// # No point takes the place of a better one
//
// Points have grades: application-consistent, frozen file systems only, as after a power cut, and last those whose
// verification failed. The best point of a period stands for it, then the newest. And a point's place in a rule's count is
// behind periods with something at least as good only: ten bad days do not push seven good ones out of "daily 7"; they are
// kept beside them, as far as seven places reach. A point whose removal was begun (expired) counts nowhere.
//
// # The repository
//
// The rules are promises about the repository, where one is configured: this machine is what it guards against. So a copy there
// is a grade above the same point without one, and a point that only this machine has is kept until a newer and no worse
// one is in the repository: then history goes on without it. If shipping fails for weeks, nothing that was shipped is lost
// for points that were not; the price is local space, and the verdicts say what waits. Local cuts go only of points whose copy is
// recorded as complete.
//
// # What no policy removes
//
// Pinned points, all that is younger than MinAge, the newest application-consistent point of an instance, and the newest of
// its best grade, which may be another: the newest that is in the repository, or that did not fail its verification. A policy
// without any count keeps every point, as nobody said what may go.
package retain

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
)

// Policy is what people want to keep. A count of 0 is no rule.
type Policy struct {
	Last    int // the newest points, whenever they were taken
	Hourly  int // the newest of each hour, as many hours back as asked; and so on
	Daily   int
	Weekly  int // weeks of ISO 8601: they begin on Monday, and belong to the year of their Thursday
	Monthly int
	Yearly  int

	// MinAge shelters what is younger. A point from the future (the clock was set back) is young.
	MinAge time.Duration
	// LocalNewest is how many of the newest kept points keep their local cut too, 0: all of them. Others keep only the
	// repository's copy.
	LocalNewest int
	// Location is where days begin; nil is UTC. Not the machine's zone: the catalogue, its ids and all that is printed are in
	// UTC, so a reader can check a verdict, it is the same under cron, in a shell and on every machine of a repository, and
	// no day has 23 or 25 hours.
	Location *time.Location
	// Repository says that one is configured: what it lacks is not removed, and only then may a local cut go.
	Repository bool
	// ByHost tells points whose snapshot a host took and expires by rules of its own; nil: there are none. They never
	// compete with our cuts, as nobody here knows whether they are still there, and they wait for no shipping.
	ByHost func(*catalog.Point) bool
}

// Verdict is what becomes of a point.
type Verdict struct {
	Point *catalog.Point `json:"point"`
	Keep  bool           `json:"keep"`
	// KeepLocal says that its local cut, if it has one, stays.
	KeepLocal bool     `json:"keep_local"`
	Reasons   []string `json:"reasons"`
}

// DropsLocal reports whether a point stays, and a local cut of it that is still there goes.
func (v Verdict) DropsLocal() bool {
	return v.Keep && !v.KeepLocal && len(v.Point.Snapshot.Refs) > 0
}

// Action is the verdict in two words.
func (v Verdict) Action() string {
	switch {
	case !v.Keep:
		return "remove"
	case v.DropsLocal():
		return "drop local"
	}
	return "keep"
}

// group is within whom points compete.
type group struct {
	instance, host string
	byHost         bool
}

func (g group) compare(other group) int {
	byHost := 0
	if g.byHost != other.byHost {
		byHost = map[bool]int{true: 1, false: -1}[g.byHost]
	}
	return cmp.Or(cmp.Compare(g.instance, other.instance), cmp.Compare(g.host, other.host), byHost)
}

// Decide judges all points: of each instance and host for itself, the oldest first, as points list shows them.
func Decide(points []*catalog.Point, policy Policy, now time.Time) []Verdict {
	groups := map[group][]*catalog.Point{}
	for _, p := range points {
		g := group{instance: p.Instance, host: p.Host, byHost: policy.ByHost != nil && policy.ByHost(p)}
		groups[g] = append(groups[g], p)
	}
	out := make([]Verdict, 0, len(points))
	for _, g := range slices.SortedFunc(maps.Keys(groups), group.compare) {
		out = append(out, newJudge(g, groups[g], policy, now).verdicts()...)
	}
	return out
}
