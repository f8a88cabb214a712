package retain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/snapshot"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// change makes a point other than a plain one.
type change func(*catalog.Point)

func pinned(p *catalog.Point)    { p.Pinned = true }
func expired(p *catalog.Point)   { p.Status = catalog.Expired }
func crashed(p *catalog.Point)   { p.Consistency = catalog.Crash }
func frozen(p *catalog.Point)    { p.Consistency = catalog.Filesystem }
func shipped(p *catalog.Point)   { p.Status, p.Repository = catalog.Shipped, &catalog.Shipment{ID: "s"} }
func disproved(p *catalog.Point) { p.Verified = &catalog.Verification{} }
func ofOther(p *catalog.Point)   { p.Instance = "other" }
func onOther(p *catalog.Point)   { p.Host = "h2" }
func hosted(p *catalog.Point)    { p.Snapshot.Provider = "external" }

func isHosted(p *catalog.Point) bool { return p.Snapshot.Provider == "external" }

// story makes points, oldest first, from lines: the time, and what is said of it.
type story struct {
	t      *testing.T
	points []*catalog.Point
}

func (s *story) add(at string, changes ...change) *story {
	s.t.Helper()
	taken, err := time.Parse("2006-01-02 15:04", at)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &catalog.Point{
		ID: fmt.Sprintf("%c", 'a'+len(s.points)), Instance: "shop", Host: "h1", TakenAt: taken, Sequence: int64(len(s.points) + 1),
		Status: catalog.Recorded, Consistency: catalog.Application, Snapshot: catalog.Snapshot{Provider: "btrfs", Refs: []snapshot.Ref{{Name: "r"}}},
	}
	for _, c := range changes {
		c(p)
	}
	s.points = append(s.points, p)
	return s
}

// kept are the ids of the points that stay, and in capitals those whose local cut goes.
func kept(verdicts []Verdict) string {
	var out []string
	for _, v := range verdicts {
		switch v.Action() {
		case "keep":
			out = append(out, v.Point.ID)
		case "drop local":
			out = append(out, strings.ToUpper(v.Point.ID))
		}
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return strings.Join(out, "")
}

// says reports whether the verdict about a point has exactly these reasons.
func says(t *testing.T, verdicts []Verdict, id string, want ...string) {
	t.Helper()
	for _, v := range verdicts {
		if v.Point.ID == id && !slices.Equal(v.Reasons, want) {
			t.Errorf("of %s: %q, not %q", id, v.Reasons, want)
		}
	}
}

func (s *story) expect(p Policy, want string) []Verdict {
	s.t.Helper()
	verdicts := Decide(s.points, p, now)
	if got := kept(verdicts); got != want {
		s.t.Errorf("kept %q, not %q", got, want)
		for _, v := range verdicts {
			s.t.Logf("%s %s %s: %q", v.Point.ID, v.Point.TakenAt.Format("2006-01-02 15:04"), v.Action(), v.Reasons)
		}
	}
	return verdicts
}

func tell(t *testing.T) *story { return &story{t: t} }

func TestRules(t *testing.T) {
	s := tell(t).add("2024-03-01 10:00").add("2025-12-31 10:00").add("2026-09-30 10:00").add("2026-10-31 10:00").
		add("2026-11-10 10:00").add("2026-11-19 10:00").add("2026-11-21 10:00").add("2026-11-21 22:10").add("2026-11-21 22:40").add("2026-11-22 11:00")
	for want, p := range map[string]Policy{
		"ij":         {Last: 2},
		"hij":        {Last: 3},
		"gij":        {Hourly: 3},
		"fij":        {Daily: 3},
		"defij":      {Daily: 5, Last: 1},
		"ej":         {Weekly: 2},
		"cdj":        {Monthly: 3},
		"abj":        {Yearly: 3},
		"abcdefghij": {Last: 100},
		"ij ":        {Last: 2, Daily: -1},
	} {
		s.expect(p, strings.TrimSpace(want))
	}
}

func TestReasons(t *testing.T) {
	s := tell(t).add("2026-11-10 10:00").add("2026-11-20 10:00").add("2026-11-20 12:00", pinned).add("2026-11-21 10:00").add("2026-11-22 11:00")
	v := s.expect(Policy{Last: 1, Daily: 3, MinAge: 24 * time.Hour}, "cde")
	says(t, v, "a", "beyond every rule: last 1, daily 3")
	says(t, v, "b", "beyond every rule: last 1, daily 3", "daily: c is kept for 2026-11-20")
	says(t, v, "c", "pinned", "daily 3 of 3: the newest of 2026-11-20")
	says(t, v, "d", "daily 2 of 3: the newest of 2026-11-21")
	says(t, v, "e", "last 1 of 1", "daily 1 of 3: the newest of 2026-11-22", "the newest usable one of shop that is application-consistent", "younger than 24h0m0s")
}

func TestTheEmptyPolicyKeepsEverything(t *testing.T) {
	s := tell(t).add("2020-01-01 00:00").add("2020-01-02 00:00", expired).add("2026-11-22 11:00")
	for _, p := range []Policy{{}, {MinAge: time.Hour}, {LocalNewest: 1}, {Daily: -1}} {
		says(t, s.expect(p, "abc"), "a", "no rule says what may go: every point is kept")
	}
	if v := Decide(nil, Policy{Last: 1}, now); len(v) != 0 {
		t.Error(v)
	}
}

func TestMinAge(t *testing.T) {
	s := tell(t).add("2026-11-21 11:59").add("2026-11-21 12:00").add("2026-11-21 12:01").add("2027-01-01 00:00").add("2026-11-22 11:00")
	v := s.expect(Policy{Last: 1, MinAge: 24 * time.Hour}, "cde")
	says(t, v, "c", "younger than 24h0m0s")
	says(t, v, "d", "younger than 24h0m0s: its time has not come yet, the clock was set back")
}

// The clock was an hour ahead, or years, and was set right: what was recorded last is the newest.
func TestAClockThatWasSetBack(t *testing.T) {
	s := tell(t).add("2026-11-21 10:00").add("2031-01-01 10:00").add("2026-11-22 11:30").add("2026-11-22 10:45")
	s.expect(Policy{Last: 1}, "d")
	s.expect(Policy{Daily: 1}, "d")
	s.expect(Policy{Daily: 2}, "bd")
	s.expect(Policy{Yearly: 1}, "d")
	old := tell(t).add("2026-11-21 10:00").add("2026-11-22 10:00") // from before there were sequences: the clock is all there is
	old.points[0].Sequence, old.points[1].Sequence = 0, 0
	old.expect(Policy{Last: 1}, "b")
}

func TestInstancesAndHostsDoNotCompete(t *testing.T) {
	s := tell(t).add("2026-11-20 10:00").add("2026-11-20 10:00", ofOther).add("2026-11-20 10:00", onOther).add("2026-11-20 10:00", hosted).
		add("2026-11-20 11:00").add("2026-11-20 11:00", ofOther).add("2026-11-20 11:00", onOther).add("2026-11-20 11:00", hosted)
	s.expect(Policy{Last: 1, ByHost: isHosted}, "efgh")
	v := s.expect(Policy{Last: 1}, "fgh") // nobody says which are a host's
	if order := fmt.Sprint(v[0].Point.ID, v[3].Point.ID, v[4].Point.ID, v[6].Point.ID); order != "bdec" {
		t.Errorf("in the order %s", order)
	}
}

func TestWorsePointsDoNotCrowdOutBetterOnes(t *testing.T) {
	s := tell(t).add("2026-11-18 10:00").add("2026-11-19 10:00").add("2026-11-20 10:00", crashed).add("2026-11-20 11:00", frozen).
		add("2026-11-20 12:00", crashed).add("2026-11-21 10:00").add("2026-11-21 11:00", crashed).add("2026-11-22 10:00", crashed)
	v := s.expect(Policy{Daily: 2}, "bdfh")
	says(t, v, "h", "daily 1 of 2: the newest of 2026-11-22, only crash-consistent")
	says(t, v, "f", "daily 1 of 2: the newest of 2026-11-21 that is application-consistent", "the newest usable one of shop that is application-consistent")
	says(t, v, "b", "daily 2 of 2: the newest of 2026-11-19")
	says(t, v, "g", "beyond every rule: daily 2", "daily: f is kept for 2026-11-21")
	v = s.expect(Policy{Daily: 3}, "abdfh")
	says(t, v, "d", "daily 2 of 3: the newest of 2026-11-20 that is filesystem-consistent")
	s.expect(Policy{Last: 2}, "bdfgh")
	days := tell(t).add("2026-11-18 10:00").add("2026-11-19 10:00").add("2026-11-20 10:00", crashed).add("2026-11-21 10:00", crashed).add("2026-11-22 10:00", crashed)
	days.expect(Policy{Daily: 2}, "abde")
}

func TestExpiredAndUnsoundPointsCountForNothing(t *testing.T) {
	s := tell(t).add("2026-11-20 10:00").add("2026-11-21 10:00").add("2026-11-21 11:00", disproved).add("2026-11-22 10:00", expired).add("2026-11-22 11:00", expired, pinned)
	v := s.expect(Policy{Daily: 1}, "bce")
	says(t, v, "b", "daily 1 of 1: the newest of 2026-11-21 that is application-consistent", "the newest usable one of shop that is application-consistent")
	says(t, v, "c", "the newest application-consistent one of shop")
	says(t, v, "d", "expired: its removal was begun, nothing can be restored from it")
	says(t, v, "e", "pinned")
}

func TestTheNewestUsableOneStays(t *testing.T) {
	all := Policy{Hourly: 1}
	one := tell(t).add("2020-01-01 00:00").add("2026-11-22 11:00", expired)
	says(t, one.expect(all, "a"), "a", "hourly 1 of 1: the newest of 2020-01-01 00:00 +0000", "the only usable one of shop")
	lesser := tell(t).add("2020-01-01 00:00", frozen).add("2020-01-01 00:01", frozen).add("2026-11-22 11:00", crashed)
	says(t, lesser.expect(Policy{Last: 1}, "bc"), "b", "last 1 of 1, only filesystem-consistent", "the newest usable one of shop that is filesystem-consistent")
	none := tell(t).add("2020-01-01 00:00", func(p *catalog.Point) { p.Consistency = "" }, disproved).add("2020-01-02 00:00", disproved, crashed)
	none.expect(all, "b")
}

func TestWhatIsNotShippedYet(t *testing.T) {
	p := Policy{Daily: 2, Repository: true}
	s := tell(t).add("2026-11-17 10:00").add("2026-11-18 10:00", shipped).add("2026-11-19 10:00", shipped).add("2026-11-20 10:00", shipped).
		add("2026-11-20 11:00").add("2026-11-20 12:00", shipped, crashed).add("2026-11-21 10:00").add("2026-11-22 10:00").add("2026-11-22 11:00")
	v := s.expect(p, "cdeghi")
	says(t, v, "a", "beyond every rule: daily 2", "not in the repository, but a newer one that is as good is")
	says(t, v, "d", "daily 1 of 2: the newest of 2026-11-20 that is application-consistent and in the repository", "the newest usable one of shop that is application-consistent and in the repository")
	says(t, v, "e", "not in the repository yet, nor is a newer one that is as good") // f is newer, shipped, and worse
	says(t, v, "h", "not in the repository yet, nor is a newer one that is as good")
	says(t, v, "i", "daily 1 of 2: the newest of 2026-11-22", "the newest application-consistent one of shop", "not in the repository yet, nor is a newer one that is as good")
	for _, point := range s.points {
		shipped(point)
	}
	s.expect(p, "gi")
	s.points[8].Status = catalog.Verified
	s.expect(p, "gi")
	for _, point := range s.points[:8] {
		point.Repository = nil // shipped they say, but where to?
	}
	s.expect(Policy{Last: 1, Repository: true}, "i")
	s.points[8].Status = catalog.Recorded // under way: it has its id already
	s.expect(Policy{Last: 1, Repository: true}, "abcdefghi")
	s.expect(Policy{Last: 1}, "i")
	s.expect(Policy{Last: 1, Repository: true, ByHost: func(*catalog.Point) bool { return true }}, "i")
}

func TestLocalCuts(t *testing.T) {
	s := tell(t).add("2026-11-17 10:00", shipped, pinned).add("2026-11-18 10:00").add("2026-11-19 10:00", shipped).add("2026-11-20 10:00", shipped).
		add("2026-11-21 10:00", shipped, crashed).add("2026-11-22 10:00", shipped).add("2026-11-22 11:00", shipped, crashed)
	all := Policy{Last: 9, LocalNewest: 2, Repository: true}
	v := s.expect(all, "abCdEfg") // a crash-consistent one does not take the place of d
	says(t, v, "c", "last 3 of 9", "beyond local 2: its local cut goes, the repository has a copy")
	s.expect(Policy{LocalNewest: 2, Repository: true}, "abCdEfg")
	s.expect(Policy{Last: 9, LocalNewest: 2}, "abcdefg") // who knows whether that repository is still there
	s.expect(Policy{Last: 9, Repository: true}, "abcdefg")
	s.expect(Policy{Last: 1, LocalNewest: 1, Repository: true, ByHost: isHosted}, "afg")
	s.points[2].Snapshot.Refs = nil // it went before
	for _, v := range s.expect(all, "abcdEfg") {
		if v.Point.ID == "c" && (v.KeepLocal || len(v.Reasons) != 1) {
			t.Errorf("%+v", v)
		}
	}
}

// The newest points count, and not those of the repository: what waits for its shipping is at hand as well.
func TestLocalCutsWhileShippingWaits(t *testing.T) {
	s := tell(t).add("2026-11-21 10:00", shipped).add("2026-11-22 10:00").add("2026-11-22 11:00")
	s.expect(Policy{Last: 9, LocalNewest: 2, Repository: true}, "Abc")
	for _, p := range s.points {
		hosted(p)
		shipped(p)
	}
	s.expect(Policy{Last: 9, LocalNewest: 2, Repository: true, ByHost: isHosted}, "abc")
}
