package archive

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const uuidA = "3e11fa47-71ca-11e1-9e33-c80aa9429562"

// Each way in which a server's logs may stand to the archived ones, decided without a server.
func TestDecide(t *testing.T) {
	same := Server{Product: MySQL, UUID: uuidA, ID: 1}
	other := Server{Product: MySQL, UUID: "4e11fa47-71ca-11e1-9e33-c80aa9429562", ID: 2}
	begins := func(name string) (*opening, error) {
		before, err := parseGTIDs(map[string]string{"binlog.000002": uuidA + ":1-5", "binlog.000003": uuidA + ":1-10"}[name])
		return &opening{format: []byte(name), before: before}, err
	}
	known, err := begins("binlog.000002")
	if err != nil {
		t.Fatal(err)
	}
	open := entry{Log: Log{Seq: 7, Server: same, Name: "binlog.000002", Head: known.head(), Size: 500, GTIDAfter: uuidA + ":1-8"}, Tail: 400}
	with := func(change func(*entry)) *entry { e := open; change(&e); return &e }
	logs := func(names ...string) []logFile {
		var out []logFile
		for _, n := range names {
			out = append(out, logFile{"binlog.00000" + n, 1000})
		}
		return out
	}
	for name, c := range map[string]struct {
		end    *entry
		facts  facts
		from   string
		resume bool
		why    string // part of the reason
	}{
		"nothing is archived":           {nil, facts{server: same, logs: logs("2", "3")}, "binlog.000002:4", false, ""},
		"goes on":                       {&open, facts{server: same, logs: logs("1", "2", "3")}, "binlog.000002:400", true, ""},
		"beyond the protocol":           {with(func(e *entry) { e.Tail = 1 << 32 }), facts{server: same, logs: []logFile{{"binlog.000002", 1 << 33}}}, "binlog.000002:4", true, ""},
		"closed":                        {with(func(e *entry) { e.Closed = true }), facts{server: same, logs: logs("2", "3")}, "binlog.000003:4", false, ""},
		"closed and purged":             {with(func(e *entry) { e.Closed = true }), facts{server: same, logs: logs("3", "4")}, "binlog.000003:4", false, ""},
		"ended and purged":              {with(func(e *entry) { e.Ends = 4 }), facts{server: same, logs: logs("3", "4")}, "binlog.000003:4", false, ""},
		"purged, with what comes next":  {with(func(e *entry) { e.Closed = true }), facts{server: same, logs: logs("4")}, "binlog.000004:4", false, "purged"},
		"purged before it was read":     {&open, facts{server: same, logs: logs("3")}, "binlog.000003:4", false, "purged"},
		"reset":                         {&open, facts{server: same, logs: logs("1")}, "binlog.000001:4", false, "reset"},
		"reset, and a log of that name": {with(func(e *entry) { e.Head = "another" }), facts{server: same, logs: logs("1", "2")}, "binlog.000001:4", false, "reset"},
		"shorter than archived":         {with(func(e *entry) { e.Size = 5000 }), facts{server: same, logs: logs("2")}, "binlog.000002:4", false, "less than"},
		"broken":                        {with(func(e *entry) { e.Closed, e.Broken = true, "others" }), facts{server: same, logs: logs("2", "3")}, "binlog.000002:4", false, "others"},
		"broken, and purged":            {with(func(e *entry) { e.Closed, e.Broken = true, "others" }), facts{server: same, logs: logs("3")}, "binlog.000003:4", false, "others"},
		"another server":                {&open, facts{server: other, logs: logs("1", "2", "3")}, "binlog.000002:4", false, ""},
		"another server that has less":  {&open, facts{server: other, logs: logs("3")}, "binlog.000003:4", false, ""},
		"another server, but no GTIDs":  {with(func(e *entry) { e.GTIDAfter = "" }), facts{server: other, logs: logs("2")}, "binlog.000002:4", false, "without GTIDs"},
	} {
		got, err := decide(c.end, &c.facts, begins)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.from.String() != c.from || got.resume != c.resume {
			t.Errorf("%s: from %s, resume %t", name, got.from, got.resume)
		}
		if why := got.gap + got.doubt; (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: the reason is %q", name, why)
		}
	}
	fault := errors.New("away")
	if _, err := decide(&open, &facts{server: same, logs: logs("2")}, func(string) (*opening, error) { return nil, fault }); !errors.Is(err, fault) {
		t.Errorf("a server that cannot be looked at: %v", err)
	}
}

// A gap is told where something is missing, and only there.
func TestJoin(t *testing.T) {
	end := &entry{Log: Log{Name: "binlog.000002", Size: 500, GTIDAfter: uuidA + ":1-8", Last: time.Unix(100, 0)}}
	for name, c := range map[string]struct {
		course course
		before string
		every  bool
		gap    bool
		lost   string
	}{
		"follows":                     {course{}, uuidA + ":1-8", true, false, ""},
		"lacks transactions":          {course{}, uuidA + ":1-10", true, true, uuidA + ":9-10"},
		"purged, nothing was in it":   {course{doubt: "purged"}, uuidA + ":1-8", true, false, ""},
		"purged, without GTIDs":       {course{doubt: "purged"}, uuidA + ":1-8", false, true, ""},
		"purged, something was in it": {course{doubt: "purged"}, uuidA + ":1-9", true, true, uuidA + ":9"},
		"overlaps":                    {course{}, uuidA + ":1-3", true, false, ""},
		"reset":                       {course{suspect: true}, uuidA + ":1-3", true, true, ""},
		"known to be broken":          {course{gap: "broken"}, uuidA + ":1-8", true, true, ""},
	} {
		g, err := c.course.join(end, Log{Name: "binlog.000003", GTIDBefore: c.before, First: time.Unix(200, 0)}, c.every)
		if err != nil || (g != nil) != c.gap {
			t.Errorf("%s: %+v, %v", name, g, err)
			continue
		}
		if g != nil && (g.GTIDs != c.lost || g.From != "binlog.000002:500" || g.To != "binlog.000003:4" || !g.After.Equal(end.Last) || g.Until.Unix() != 200 || g.Reason == "") {
			t.Errorf("%s: %+v", name, g)
		}
	}
	if g, err := (course{}).join(nil, Log{}, true); g != nil || err != nil {
		t.Errorf("before the first log: %+v, %v", g, err)
	}
}
