package pitr

import (
	"slices"
)

// compareWithPoint refuses GTIDs that the point has already.
func (f *finder) compareWithPoint() error {
	switch {
	case f.wanted.Empty():
		return f.refuse("it names no transaction")
	case f.target.Before && f.seen.HasAny(f.wanted):
		return f.refuse("%s has it already, or a part of it: %s", f.from.self(), f.from.earlier())
	case !f.seen.Has(f.wanted):
		return nil
	case !f.target.Before && (f.wanted.Has(f.seen) || f.from.Last != "" && f.wanted.Names(f.from.Last)):
		f.reached = true // it is the point's own moment
		return nil
	}
	return f.refuse("%s has it already: %s", f.from.self(), f.from.earlier())
}

// later refuses a position before the point, and one that can be meant in more than one log.
func (f *finder) later(s start) error {
	t := f.target
	if t.File == "" {
		return nil
	}
	named := func(l Log) bool { return l.Name == t.File }
	switch at := f.logs.All[s.log]; {
	case t.File == at.Name && (t.Offset < s.offset || t.Offset == s.offset && t.Before):
		return f.refuse("%s stands at %s:%d: %s", f.from.self(), at.Name, s.offset, f.from.earlier())
	case slices.ContainsFunc(f.logs.All[:s.log], named) && !slices.ContainsFunc(f.logs.All[s.log:], named):
		return f.refuse("%s is before %s, where %s stands: %s", t.File, at.Name, f.from.self(), f.from.earlier())
	}
	if i := slices.IndexFunc(f.logs.All[s.log:], named); i >= 0 && slices.ContainsFunc(f.logs.All[s.log+i+1:], named) {
		return f.refuse("there is more than one %s, of several servers or from before and after a reset: name a GTID or a time", t.File)
	}
	return nil
}

// past refuses a time before the last transaction of the point, or, if none of those was seen, before the point itself.
func (f *finder) past() error {
	t, since, what := f.target, f.latest, "its last transaction was committed at"
	if t.Time.IsZero() {
		return nil
	}
	if since.IsZero() {
		since, what = f.from.Time, f.from.when()
	}
	if t.Time.Before(since) || t.Before && t.Time.Equal(since) {
		return f.refuse("it is before %s: %s %s; %s", f.from.self(), what, since.UTC().Format(timeFormat), f.from.earlier())
	}
	return nil
}

// judge looks at where the walk ended.
func (f *finder) judge() error {
	t := f.target
	covered := f.logs.Until
	if f.way.Last != nil && f.way.Last.Time.After(covered) {
		covered = f.way.Last.Time
	}
	switch {
	case f.past() != nil:
		return f.past()
	case f.done != nil && !f.enclosed():
		return f.refuse("more is applied: %s", f.from.earlier())
	case f.reached:
		return f.judgeSkips()
	case !t.Time.IsZero() && !t.Time.After(covered):
		return f.judgeSkips() // nothing was committed after the last one that is applied
	case !t.Time.IsZero():
		return f.refuse("%s ends at %s", f.logs.From, covered.UTC().Format(timeFormat))
	case t.File != "" && f.within:
		return f.refuse("the offset lies inside an event: those of transactions are shown by binlog find")
	}
	r := f.refuse("it is not in %s after %s", f.logs.From, f.from.self())
	r.Missing = true
	return r
}

// judgeSkips wants what shall be left out to be there.
func (f *finder) judgeSkips() error {
	if len(f.way.Skipped) != len(f.target.Skip) {
		return f.refuse("of the transactions to skip only %d of %d are on the way: %v", len(f.way.Skipped), len(f.target.Skip), f.way.Skipped)
	}
	return nil
}

// enclosed tells whether an earlier replay, which did not come to its end, has applied no more than what is wanted now.
func (f *finder) enclosed() bool {
	all := f.seen.Clone()
	for _, gtid := range f.from.LeftOut { // MySQL's applier has these from the beginning
		if all.Add(gtid) != nil {
			return false
		}
	}
	return all.Has(f.done)
}
