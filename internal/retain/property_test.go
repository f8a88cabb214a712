package retain

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/snapshot"
)

const worlds = 1000

// world is a catalogue and a policy, drawn.
type world struct {
	*rand.Rand
	name   string
	points []*catalog.Point
	policy Policy
}

func each(t *testing.T, check func(*testing.T, world)) {
	for seed := range uint64(worlds) {
		w := world{Rand: rand.New(rand.NewPCG(seed, 1)), name: fmt.Sprintf("world %d", seed)}
		w.draw(t)
		check(t, w)
		if t.Failed() {
			t.Fatalf("in %s: %+v", w.name, w.policy)
		}
	}
}

func pick[T any](w *world, of ...T) T { return of[w.IntN(len(of))] }

func (w *world) draw(t *testing.T) {
	at := now.Add(-time.Duration(w.IntN(1000)) * 24 * time.Hour)
	step := pick(w, time.Hour, 6*time.Hour, 24*time.Hour, 20*24*time.Hour)
	for n := range w.IntN(40) {
		at = at.Add(time.Duration(w.Float64() * float64(step)))
		if w.IntN(12) == 0 { // somebody sets the clock
			at = at.Add(time.Duration(w.IntN(7)-3) * step)
		}
		w.points = append(w.points, w.point(n, at))
	}
	w.policy = Policy{
		Last: w.count(), Hourly: w.count(), Daily: w.count(), Weekly: w.count(), Monthly: w.count(), Yearly: w.count(),
		MinAge: pick(w, 0, time.Hour, 24*time.Hour, 100*24*time.Hour), LocalNewest: w.count(), Repository: w.IntN(2) == 0,
		Location: pick(w, nil, time.UTC, in(t, "Europe/Berlin"), in(t, "Pacific/Apia")), ByHost: pick(w, nil, isHosted),
	}
}

func (w *world) count() int { return pick(w, 0, 0, 0, 1, 2, 3, 7) }

func (w *world) point(n int, at time.Time) *catalog.Point {
	p := &catalog.Point{
		ID: fmt.Sprintf("p%02d", n), Instance: pick(w, "shop", "shop", "other"), Host: pick(w, "h1", "h1", "h1", "h2"), TakenAt: at, Sequence: int64(n / 2),
		Status:      pick(w, catalog.Recorded, catalog.Recorded, catalog.Shipped, catalog.Shipped, catalog.Verified, catalog.Expired),
		Consistency: pick(w, catalog.Application, catalog.Application, catalog.Application, catalog.Filesystem, catalog.Crash, ""),
		Pinned:      w.IntN(15) == 0, Snapshot: catalog.Snapshot{Provider: pick(w, "btrfs", "btrfs", "btrfs", "external")},
	}
	if w.IntN(5) > 0 {
		p.Repository = &catalog.Shipment{ID: "s"}
	}
	if w.IntN(3) > 0 {
		p.Snapshot.Refs = []snapshot.Ref{{Name: "r"}}
	}
	if w.IntN(4) == 0 {
		p.Verified = &catalog.Verification{OK: w.IntN(2) == 0}
	}
	return p
}

// ships says that a point belongs into a repository.
func (w *world) ships(p *catalog.Point) bool {
	return w.policy.Repository && (w.policy.ByHost == nil || !isHosted(p))
}

// keeps are the points that stay, and locals those whose local cut does.
func keeps(verdicts []Verdict) (keep, local map[*catalog.Point]bool) {
	keep, local = map[*catalog.Point]bool{}, map[*catalog.Point]bool{}
	for _, v := range verdicts {
		if v.Keep {
			keep[v.Point] = true
		}
		if v.KeepLocal {
			local[v.Point] = true
		}
	}
	return keep, local
}

func TestEveryPointHasOneVerdictWithReasons(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		seen := map[*catalog.Point]int{}
		for _, v := range Decide(w.points, w.policy, now) {
			seen[v.Point]++
			if len(v.Reasons) == 0 || v.KeepLocal && !v.Keep {
				t.Errorf("%+v", v)
			}
			for _, r := range v.Reasons {
				if r == "" {
					t.Errorf("%s: %q", v.Point.ID, v.Reasons)
				}
			}
		}
		for _, p := range w.points {
			if seen[p] != 1 {
				t.Errorf("%s has %d verdicts", p.ID, seen[p])
			}
		}
	})
}

func TestDecidingAgainRemovesNothingMore(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		keep, local := keeps(Decide(w.points, w.policy, now))
		var left []*catalog.Point
		for _, p := range w.points {
			if keep[p] {
				left = append(left, p)
			}
		}
		again, localAgain := keeps(Decide(left, w.policy, now))
		for _, p := range left {
			if !again[p] || local[p] != localAgain[p] {
				t.Errorf("%s goes, or its local cut does or comes back", p.ID)
			}
		}
	})
}

func TestAStricterPolicyNeverKeepsMore(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		strict := w.policy
		for _, n := range []*int{&strict.Last, &strict.Hourly, &strict.Daily, &strict.Weekly, &strict.Monthly, &strict.Yearly} {
			*n -= w.IntN(*n + 1)
		}
		strict.MinAge /= time.Duration(1 + w.IntN(3))
		if len(strict.rules()) == 0 {
			return // that is no policy, and keeps everything
		}
		loose, _ := keeps(Decide(w.points, w.policy, now))
		keep, local := keeps(Decide(w.points, strict, now))
		for p := range keep {
			if !loose[p] {
				t.Errorf("%s is kept by %+v only", p.ID, strict)
			}
		}
		if strict.LocalNewest > 1 {
			strict.LocalNewest--
			_, fewer := keeps(Decide(w.points, strict, now))
			for p := range fewer {
				if !local[p] {
					t.Errorf("the local cut of %s is kept by %+v only", p.ID, strict)
				}
			}
		}
	})
}

func TestWhatNoPolicyRemoves(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		keep, local := keeps(Decide(w.points, w.policy, now))
		newest := map[string]*catalog.Point{}
		for _, p := range w.points { // they were drawn in the order in which they were recorded, but for ties
			who := p.Instance + p.Host
			if n := newest[who]; p.Consistency == catalog.Application && p.Status != catalog.Expired && (n == nil || catalog.ByAge(p, n) > 0) {
				newest[who] = p
			}
			switch {
			case p.Pinned && !(keep[p] && local[p]):
				t.Errorf("%s is pinned", p.ID)
			case w.policy.MinAge > 0 && now.Sub(p.TakenAt) < w.policy.MinAge && !keep[p]:
				t.Errorf("%s is young", p.ID)
			case keep[p] && !local[p] && !(w.policy.Repository && inRepository(p)):
				t.Errorf("the only copy of %s goes", p.ID)
			}
		}
		for _, p := range newest {
			if !keep[p] {
				t.Errorf("%s is the newest", p.ID)
			}
		}
	})
}

// What only this machine has goes only where the repository has a newer one that is no worse.
func TestNothingUnshippedGoesUnlessHistoryWentOn(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		keep, _ := keeps(Decide(w.points, w.policy, now))
		for _, p := range w.points {
			if keep[p] || !w.ships(p) || inRepository(p) || p.Status == catalog.Expired {
				continue
			}
			newer := false
			for _, q := range w.points {
				newer = newer || q.Instance == p.Instance && q.Host == p.Host && w.ships(q) && q.Status != catalog.Expired && inRepository(q) &&
					catalog.ByAge(q, p) > 0 && consistency(q) >= consistency(p)
			}
			if !newer {
				t.Errorf("%s goes", p.ID)
			}
		}
	})
}

// Points that are worse are no reason to remove a better one, nor are those that are not shipped for one that is.
func TestWithoutTheWorseNothingMoreIsKept(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		good := func(p *catalog.Point) bool {
			return consistency(p) == application && p.Status != catalog.Expired && (!w.ships(p) || inRepository(p))
		}
		var best []*catalog.Point
		for _, p := range w.points {
			if good(p) {
				best = append(best, p)
			}
		}
		among, _ := keeps(Decide(w.points, w.policy, now))
		alone, _ := keeps(Decide(best, w.policy, now))
		for p := range alone {
			if !among[p] {
				t.Errorf("%s is crowded out", p.ID)
			}
		}
	})
}

func TestTheOrderOfTheInputIsIrrelevant(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		want := Decide(w.points, w.policy, now)
		w.Shuffle(len(w.points), func(i, k int) { w.points[i], w.points[k] = w.points[k], w.points[i] })
		before := slices.Clone(w.points)
		if got := Decide(w.points, w.policy, now); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, not %+v", got, want)
		}
		if !slices.Equal(before, w.points) {
			t.Error("the input was changed")
		}
	})
}
