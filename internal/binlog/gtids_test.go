package binlog

import "testing"

const uuid, other = "3E11FA47-71CA-11E1-9E33-C80AA9429562", "4350f323-7565-4e59-8763-4b1b83a0ce0e"

func set(t *testing.T, mariadb bool, text string) *GTIDs {
	t.Helper()
	g, err := ParseGTIDs(mariadb, text)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGTIDs(t *testing.T) {
	for _, c := range []struct {
		mariadb   bool
		have, one string
		has       bool // the set has it
		names     bool // the set names it
	}{
		{false, uuid + ":1-5", uuid + ":5", true, true},
		{false, uuid + ":1-5", uuid + ":6", false, false},
		{false, uuid + ":1-5:8-9,\n" + other + ":1", uuid + ":7", false, false},
		{false, uuid + ":1-5:8-9,\n" + other + ":1", other + ":1", true, true},
		{false, uuid + ":1-5", uuid + ":tag:3", false, false},
		{false, uuid + ":1-5:tag:1-3", uuid + ":tag:3", true, true},
		{false, "", uuid + ":1", false, false},
		{true, "0-1-100,1-2-7", "0-1-99", true, false},
		{true, "0-1-100,1-2-7", "0-1-100", true, true},
		{true, "0-1-100,1-2-7", "0-9-100", true, false}, // another server's: the place is the same, the transaction is not
		{true, "0-1-100", "0-1-101", false, false},
		{true, "0-1-100", "5-1-1", false, false},
		{true, "0-1-10,0-2-20", "0-2-20", true, true}, // as Gtid_list has them
		{true, "0-1-10,0-2-20", "0-1-11", true, false},
		{true, "0-1-100,0-2-90", "0-1-95", false, false}, // the last of the domain is 0-2-90
	} {
		g := set(t, c.mariadb, c.have)
		if g.HasOne(c.one) != c.has || g.Names(c.one) != c.names {
			t.Errorf("%q: has %s: %v, want %v; names it: %v, want %v", c.have, c.one, g.HasOne(c.one), c.has, g.Names(c.one), c.names)
		}
		before := g.String()
		if all := g.Clone(); all.Add(c.one) != nil || !all.HasOne(c.one) || !c.has && g.HasOne(c.one) || !set(t, c.mariadb, before).Has(g) {
			t.Errorf("%q with %s is %s, and the set itself %s", c.have, c.one, all, g)
		}
	}
	for _, bad := range []struct {
		mariadb bool
		text    string
	}{{false, "0-1-2"}, {false, "nonsense"}, {true, uuid + ":1"}, {true, "0-1"}, {true, "0-1-x"}, {true, "-1-1-1"}} {
		if g, err := ParseGTIDs(bad.mariadb, bad.text); err == nil {
			t.Errorf("%q is taken for %s", bad.text, g)
		}
	}
	if !set(t, false, uuid+":3-5").HasAny(set(t, false, uuid+":5-9")) || set(t, false, uuid+":3-5").HasAny(set(t, false, uuid+":6,"+other+":3")) ||
		!set(t, true, "0-1-7,1-1-3").HasAny(set(t, true, "0-1-9,1-1-2")) || set(t, true, "0-1-7").HasAny(set(t, true, "0-1-8,4-1-1")) {
		t.Error("whether two sets have something in common")
	}
	if !set(t, true, "").Empty() || !set(t, false, "").Empty() {
		t.Error("the empty set is not empty")
	}
}
