package retain

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func in(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestPeriods(t *testing.T) {
	berlin, howe := in(t, "Europe/Berlin"), in(t, "Australia/Lord_Howe")
	for _, c := range []struct {
		rule string
		zone *time.Location
		at   string // UTC
		want string
	}{
		{"daily", time.UTC, "2026-12-31 23:30", "2026-12-31"},
		{"daily", berlin, "2026-12-31 23:30", "2027-01-01"},
		{"monthly", berlin, "2026-12-31 23:30", "2027-01"},
		{"yearly", berlin, "2026-12-31 23:30", "2027"},
		{"yearly", time.UTC, "2026-12-31 23:30", "2026"},
		// The ISO year is that of the week's Thursday.
		{"weekly", time.UTC, "2026-12-31 23:30", "week 2026-W53"},
		{"weekly", time.UTC, "2027-01-03 23:59", "week 2026-W53"},
		{"weekly", time.UTC, "2027-01-04 00:00", "week 2027-W01"},
		{"weekly", berlin, "2027-01-03 23:00", "week 2027-W01"},
		{"weekly", time.UTC, "2024-12-30 00:00", "week 2025-W01"},
		{"weekly", time.UTC, "2024-12-29 23:59", "week 2024-W52"},
		// Summer ends: two hours are called 2, and the day has 25.
		{"hourly", berlin, "2026-10-25 00:30", "2026-10-25 02:00 +0200"},
		{"hourly", berlin, "2026-10-25 01:30", "2026-10-25 02:00 +0100"},
		{"daily", berlin, "2026-10-24 22:00", "2026-10-25"},
		{"daily", berlin, "2026-10-25 22:59", "2026-10-25"},
		{"daily", berlin, "2026-10-25 23:00", "2026-10-26"},
		// Summer begins: no hour is called 2, and the day has 23.
		{"hourly", berlin, "2026-03-29 00:59", "2026-03-29 01:00 +0100"},
		{"hourly", berlin, "2026-03-29 01:00", "2026-03-29 03:00 +0200"},
		{"daily", berlin, "2026-03-28 22:59", "2026-03-28"},
		{"daily", berlin, "2026-03-28 23:00", "2026-03-29"},
		{"daily", berlin, "2026-03-29 21:59", "2026-03-29"},
		{"daily", berlin, "2026-03-29 22:00", "2026-03-30"},
		// Half an hour of summer time.
		{"hourly", howe, "2026-04-04 14:45", "2026-04-05 01:00 +1100"},
		{"hourly", howe, "2026-04-04 15:15", "2026-04-05 01:00 +1030"},
		{"hourly", in(t, "Asia/Kolkata"), "2026-11-20 10:15", "2026-11-20 15:00 +0530"},
	} {
		at, err := time.Parse("2006-01-02 15:04", c.at)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range (Policy{Hourly: 1, Daily: 1, Weekly: 1, Monthly: 1, Yearly: 1}).rules() {
			if got := r.period(at.In(c.zone)); r.name == c.rule && got != c.want {
				t.Errorf("%s %s in %s: %q, not %q", c.rule, c.at, c.zone, got, c.want)
			}
		}
	}
}

func TestTheHourThatComesTwice(t *testing.T) {
	s := tell(t).add("2026-10-25 00:10").add("2026-10-25 00:30").add("2026-10-25 01:10").add("2026-10-25 01:30")
	s.expect(Policy{Hourly: 9, Location: in(t, "Europe/Berlin")}, "bd")
	s.expect(Policy{Hourly: 9}, "bd")
}

func TestDaysBeginWhereThePolicySays(t *testing.T) {
	s := tell(t).add("2026-11-20 22:30").add("2026-11-20 23:30").add("2026-11-21 22:30").add("2026-11-21 23:30")
	s.expect(Policy{Daily: 9}, "bd")
	s.expect(Policy{Daily: 9, Location: in(t, "Europe/Berlin")}, "acd")
	s.points[0].TakenAt = s.points[0].TakenAt.In(in(t, "Asia/Tokyo")) // however it was written
	s.expect(Policy{Daily: 9}, "bd")
}

func TestNewYear(t *testing.T) {
	s := tell(t).add("2026-12-27 10:00").add("2026-12-28 10:00").add("2026-12-31 10:00").add("2027-01-01 10:00").add("2027-01-03 10:00").add("2027-01-04 10:00")
	s.expect(Policy{Weekly: 2}, "ef")
	s.expect(Policy{Weekly: 3}, "aef")
	s.expect(Policy{Monthly: 2}, "cf")
	s.expect(Policy{Yearly: 2}, "cf")
}
