package retain

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
)

// rule keeps the best point of each of the newest count periods.
type rule struct {
	name   string
	count  int
	period func(time.Time) string // the name of the period that holds a moment; nil: each point is one
}

// rules are those that the policy has, the finest first.
func (p Policy) rules() []rule {
	var out []rule
	for _, r := range []rule{
		{"last", p.Last, nil},
		{"hourly", p.Hourly, hour},
		{"daily", p.Daily, layout("2006-01-02")},
		{"weekly", p.Weekly, week},
		{"monthly", p.Monthly, layout("2006-01")},
		{"yearly", p.Yearly, layout("2006")},
	} {
		if r.count > 0 {
			out = append(out, r)
		}
	}
	return out
}

func layout(form string) func(time.Time) string {
	return func(t time.Time) string { return t.Format(form) }
}

// hour has the offset: when summer ends, there are two hours from 2 to 3.
func hour(t time.Time) string { return t.Format("2006-01-02 15:00 -0700") }

// week has the year of the week, which in the days around New Year is not that of the day.
func week(t time.Time) string {
	year, n := t.ISOWeek()
	return fmt.Sprintf("week %04d-W%02d", year, n)
}

// names lists the rules as people wrote them.
func names(rules []rule) string {
	var out []string
	for _, r := range rules {
		out = append(out, fmt.Sprintf("%s %d", r.name, r.count))
	}
	return strings.Join(out, ", ")
}

// stand is a point that stands for a period.
type stand struct {
	*catalog.Point
	period string
	newest bool // nothing newer is in the period
}

// stands are the best points of all periods.
func (j *judge) stands(r rule) map[string]stand {
	best := map[string]stand{}
	for _, p := range j.usable {
		period := j.period(r, p)
		b, taken := best[period]
		if !taken || j.grade(p) > j.grade(b.Point) {
			best[period] = stand{p, period, !taken}
		}
	}
	return best
}

func (j *judge) period(r rule, p *catalog.Point) string {
	if r.period == nil {
		return p.ID
	}
	return r.period(p.TakenAt.In(j.zone))
}

// obey keeps what a rule wants.
func (j *judge) obey(r rule) {
	best := j.stands(r)
	var q queue
	for _, p := range j.usable {
		period := j.period(r, p)
		n := q.place(j.grade(p), period)
		if s := best[period]; s.Point == p && n <= r.count {
			j.keep(p, "%s %d of %d%s", r.name, n, r.count, j.standing(r, s))
			j.holders[r.name+period] = p
		}
	}
}

// queue gives out places to points, the newest first; nobody is behind a worse one. All points of a period take one place
// together, and not its best alone: when a clock was set, a period can be there twice, and if its best one is removed and
// another took its place elsewhere in the queue, the next decision would differ from this one.
type queue [grades]map[string]bool

func (q *queue) place(g grade, period string) int {
	for i := range g + 1 {
		if q[i] == nil {
			q[i] = map[string]bool{}
		}
		q[i][period] = true
	}
	return len(q[g])
}

// standing says what a point is to its period.
func (j *judge) standing(r rule, s stand) string {
	text := ""
	if r.period != nil {
		text = ": the newest of " + s.period
	}
	g := j.grade(s.Point)
	switch {
	case !s.newest:
		return text + " that is " + g.String()
	case g < application:
		return text + ", only " + g.String()
	}
	return text
}
