package pitr

import "fmt"

// Refusal is a moment that cannot be reached; nothing was touched.
type Refusal struct {
	Text    string
	Instead string // what can be reached
	Missing bool   // the logs do not have what was named
	why     string // without the target
}

func (r *Refusal) Error() string { return r.Text }

// Hint says what can be reached instead.
func (r *Refusal) Hint() string { return r.Instead }

func (f *finder) refuse(format string, args ...any) *Refusal {
	why := fmt.Sprintf(format, args...)
	return &Refusal{Text: fmt.Sprintf("cannot go from %s to %s: %s", f.from, f.target, why), Instead: f.reach(), why: why}
}

// reach tells which moments can be had.
func (f *finder) reach() string {
	if f.way.Last == nil {
		return fmt.Sprintf("reachable from there: %s itself, %s", f.from.self(), f.from.Time.UTC().Format(timeFormat))
	}
	return fmt.Sprintf("reachable from there: anything until %s (--until-position %s:%d)", *f.way.Last, f.way.Last.File, f.way.Last.End)
}

const timeFormat = "2006-01-02T15:04:05.999999Z07:00"
