package archive

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/go-mysql-org/go-mysql/replication"
)

// course is where archiving goes on, and how what comes is joined to what is there.
type course struct {
	from   position // in the server's log
	resume bool     // it is in the last archived log: what is there is compared, then it goes on; else a new log begins
	// Of a new log, that of a server which was followed before: gap is why something is missing for sure, doubt why it is unless GTIDs prove
	// the opposite.
	gap, doubt string
	suspect    bool   // the server may have been reset: GTIDs that it lacks prove it
	broken     string // why the last log is ended, although the server is the same

	detour *detour // nil: the server is followed as long as it is there
}

// decide compares the end of the archive with what the server has. It changes nothing.
func decide(end *entry, f *facts, look func(name string) (*opening, error)) (course, error) {
	oldest := position{f.logs[0].name, start}
	switch {
	case end == nil:
		return course{from: oldest}, nil
	case !sameServer(end.Server, f.server):
		return elsewhere(end, f, look)
	case end.Broken != "":
		return again(end, f), nil
	}
	i := f.index(end.Name)
	if i < 0 {
		return gone(end, f), nil
	}
	begins, err := look(end.Name)
	switch {
	case err != nil:
		return course{}, err
	case begins.head() != end.Head:
		return course{from: oldest, gap: "the server's binary logs were reset, or it was rebuilt: its " + end.Name + " is another one than the archived"}, nil
	case !end.Closed && f.logs[i].size < end.Size:
		c := again(end, f)
		c.broken = fmt.Sprintf("the server has less than was archived, after a crash, a reset, or as an older state: its %s ends at %d, before %d", end.Name, f.logs[i].size, end.Size)
		c.gap = c.broken
		return c, nil
	case !end.Closed:
		c := course{from: position{end.Name, end.Tail}, resume: true}
		if !reachable(c.from.at) {
			c.from.at = start // everything is compared
		}
		return c, nil
	case i+1 < len(f.logs):
		return course{from: position{f.logs[i+1].name, start}}, nil
	}
	return course{}, fmt.Errorf("%s was closed, and the server has no log after it", end.Name)
}

// again archives a log anew that was found to be another one than the server's, though it begins alike.
func again(end *entry, f *facts) course {
	c := course{from: position{f.logs[0].name, start}, gap: end.Broken}
	if f.index(end.Name) >= 0 {
		c.from.file = end.Name
	}
	return c
}

// gone is what to do when the server has the last archived log no more.
func gone(end *entry, f *facts) course {
	c := course{from: position{f.logs[0].name, start}}
	if next := successor(end.Name); end.complete() && f.index(next) >= 0 {
		c.from.file, c.suspect = next, true
		return c
	}
	c.doubt = fmt.Sprintf("the server purged logs that were not archived: it has nothing before %s", f.logs[0].name)
	if number(f.logs[0].name) <= number(end.Name) {
		c.gap, c.doubt = fmt.Sprintf("the server's binary logs were reset, or it was rebuilt: %s is gone, and there is %s", end.Name, f.logs[0].name), ""
	}
	return c
}

// complete tells whether the log ends as one does to which nothing is added.
func (e *entry) complete() bool {
	return e.Closed || e.Ends == byte(replication.ROTATE_EVENT) || e.Ends == byte(replication.STOP_EVENT)
}

// elsewhere finds in another server's logs the one in which our history ends: the newest that begins with nothing that we lack.
func elsewhere(end *entry, f *facts, look func(name string) (*opening, error)) (course, error) {
	c := course{from: position{f.logs[0].name, start}}
	if end.GTIDAfter == "" {
		c.gap = "the server was changed for another one, and without GTIDs nothing tells where its logs meet the archived ones"
		return c, nil
	}
	have, err := parseGTIDs(end.GTIDAfter)
	if err != nil {
		return c, err
	}
	for i := len(f.logs) - 1; i >= 0; i-- {
		begins, err := look(f.logs[i].name)
		if err != nil {
			return c, err
		}
		if have.lacks(begins.before) == "" {
			c.from.file = f.logs[i].name
			return c, nil
		}
	}
	return c, nil // from the oldest on; what is missing is seen when it begins
}

var numbered = regexp.MustCompile(`^(.*\.)([0-9]+)$`)

// number is that of a log, -1 if it has none.
func number(name string) int64 {
	m := numbered.FindStringSubmatch(name)
	if m == nil {
		return -1
	}
	n, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// successor is the name of the log that a server writes after the one.
func successor(name string) string {
	m := numbered.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	return fmt.Sprintf("%s%0*d", m[1], len(m[2]), number(name)+1)
}
