package archive

import (
	"math/rand/v2"
	"testing"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/google/uuid"
)

func TestMissingGTIDs(t *testing.T) {
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562"
	for _, c := range []struct{ want, have, missing string }{
		{"", "", ""},
		{a + ":1-10", "", a + ":1-10"},
		{a + ":1-10", a + ":1-10", ""},
		{a + ":1-10", a + ":1-3:5:8-20", a + ":4:6-7"},
		{a + ":1-10," + b + ":7", a + ":1-10", b + ":7"},
		{a + ":1-3:tag:1-5", a + ":1-3:tag:2", a + ":tag:1:3-5"},
		{"0-1-10", "0-1-10", ""},
		{"0-1-10", "0-2-12", ""},
		{"0-1-10", "0-1-9", "0-1-10"},
		{"0-1-10,1-1-3", "0-1-4", "0-1-5..10,1-1-1..3"},
		{"", "0-1-10", ""},
	} {
		got, err := missing(c.want, c.have)
		if err != nil || got != c.missing {
			t.Errorf("of %q, %q lacks %q, %v; not %q", c.want, c.have, got, err, c.missing)
		}
	}
	for _, bad := range []string{"x", a + ":x", "0-1", a} {
		if _, err := parseGTIDs(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// What another server wrote in a domain is not hidden behind a later number of that domain.
func TestOrigins(t *testing.T) {
	for _, c := range []struct{ all, have, missing string }{
		{"", "", ""},
		{"0-1-10", "0-1-10", ""},
		{"0-1-10", "0-1-12,0-3-4,1-1-1", ""},
		{"0-2-5,0-1-10", "0-1-10", "0-2-5"},
		{"0-2-5,0-1-10", "0-2-4,0-1-20", "0-2-5"},
		{"0-1-10,1-1-3", "0-1-9", "0-1-10,1-1-3"},
	} {
		all, err := parseOrigins(c.all)
		have, err2 := parseOrigins(c.have)
		if got := have.lacks(all); err != nil || err2 != nil || got != c.missing {
			t.Errorf("of %q, %q lacks %q, %v, %v; not %q", c.all, c.have, got, err, err2, c.missing)
		}
	}
	if _, err := parseOrigins("x"); err == nil {
		t.Error("x was read")
	}
}

// Adding runs gives what adding one by one does.
func TestRunsOfGTIDs(t *testing.T) {
	origins := []uuid.UUID{{1}, {2}}
	for range 200 {
		fast, slow := &gtids{}, mysql.NewMysqlGTIDSet()
		next := map[uuid.UUID]int64{}
		for range rand.IntN(60) {
			origin := origins[rand.IntN(2)]
			if next[origin]++; rand.IntN(10) == 0 {
				next[origin] += 2
			}
			fast.add(origin, mysql.Tag{}, next[origin])
			slow.AddGTID(origin, next[origin])
		}
		if fast.String() != slow.String() {
			t.Fatalf("%s is not %s", fast, slow.String())
		}
	}
}
