package config

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // small servers have no time zones of their own, and a prune shall not depend on that

	"github.com/holdstill/holdstill/internal/retain"
)

// Retention is which points are kept. A key that is left out is that of the section of the whole file, and 0 turns a rule of it
// off: an instance that says no more than "local: 1" must not lose the rules that keep its points.
type Retention struct {
	Last     *int     `yaml:"last"`    // the newest points
	Hourly   *int     `yaml:"hourly"`  // the newest point of each of so many hours
	Daily    *int     `yaml:"daily"`   // days
	Weekly   *int     `yaml:"weekly"`  // weeks of ISO 8601
	Monthly  *int     `yaml:"monthly"` // months
	Yearly   *int     `yaml:"yearly"`  // years
	MinAge   Duration `yaml:"min_age"` // nothing younger is removed
	Local    *int     `yaml:"local"`   // how many of the newest keep their local cut, once a repository has them; 0: all
	TimeZone string   `yaml:"time_zone"`
}

// RetentionOf is the policy for an instance, also for one that the file does not name. Nothing written means: keep everything.
// Whether there is a repository, and which points are a host's, is for the caller to add.
func (c *Config) RetentionOf(instance string) retain.Policy {
	var own *Retention
	if i := c.Instances[instance]; i != nil {
		own = i.Retention
	}
	return own.over(c.Retention).policy()
}

// count is a key that holds a number.
type count struct {
	key  string
	at   **int
	rule bool // it says what to keep
}

func (r *Retention) counts() []count {
	return []count{
		{"last", &r.Last, true}, {"hourly", &r.Hourly, true}, {"daily", &r.Daily, true}, {"weekly", &r.Weekly, true},
		{"monthly", &r.Monthly, true}, {"yearly", &r.Yearly, true}, {"local", &r.Local, false},
	}
}

// over returns what r says, and base where r says nothing.
func (r *Retention) over(base *Retention) Retention {
	var out Retention
	for _, layer := range []*Retention{base, r} {
		if layer == nil {
			continue
		}
		target := out.counts()
		for i, n := range layer.counts() {
			if *n.at != nil {
				*target[i].at = *n.at
			}
		}
		if layer.MinAge != 0 {
			out.MinAge = layer.MinAge
		}
		if layer.TimeZone != "" {
			out.TimeZone = layer.TimeZone
		}
	}
	return out
}

func (r Retention) policy() retain.Policy {
	number := func(n *int) int {
		if n == nil {
			return 0
		}
		return *n
	}
	zone, err := location(r.TimeZone)
	if err != nil { // refused when the file was read
		zone = time.UTC
	}
	return retain.Policy{
		Last: number(r.Last), Hourly: number(r.Hourly), Daily: number(r.Daily), Weekly: number(r.Weekly),
		Monthly: number(r.Monthly), Yearly: number(r.Yearly),
		MinAge: time.Duration(r.MinAge), LocalNewest: number(r.Local), Location: zone,
	}
}

// location refuses "Local": that is what TZ says to whoever asks, so cron and a shell could disagree about what a day is.
func location(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || strings.EqualFold(name, "local") {
		return nil, fmt.Errorf("%q is no time zone: write it as UTC or Europe/Berlin", name)
	}
	return zone, nil
}

// retentionFaults are those of the section of the whole file, and of those of the instances.
func (c *Config) retentionFaults() []string {
	var faults []string
	tell := func(who string, found []fault, path ...string) {
		for _, f := range found {
			line := c.line(append(path, f.key)...)
			faults = append(faults, fmt.Sprintf("line %d: %sretention: %s", line, who, f.text))
		}
	}
	tell("", c.Retention.faults(nil), "retention")
	for _, name := range c.Names() {
		tell("instance "+name+": ", c.Instances[name].Retention.faults(c.Retention), "instances", name, "retention")
	}
	return faults
}

// faults are those of a section which lies over base.
func (r *Retention) faults(base *Retention) []fault {
	if r == nil {
		return nil
	}
	var out []fault
	for _, n := range r.counts() {
		if *n.at != nil && **n.at < 0 {
			out = append(out, fault{n.key, fmt.Sprintf("%s: %d is less than nothing", n.key, **n.at)})
		}
	}
	if _, err := location(r.TimeZone); err != nil {
		out = append(out, fault{"time_zone", err.Error()})
	}
	if r.over(base).keepsNothing() {
		out = append(out, fault{"", "it would keep nothing: give at least one of last, hourly, daily, weekly, monthly and yearly, or none of them and no min_age to keep everything"})
	}
	return out
}

// keepsNothing reports whether somebody asked for rules and got none: zeros only, or a shelter for the young and nothing for
// the old. The first is a slip, the second can be meant in two ways, and one of them removes almost everything.
func (r Retention) keepsNothing() bool {
	asked := r.MinAge != 0
	for _, n := range r.counts() {
		if !n.rule || *n.at == nil {
			continue
		}
		if **n.at != 0 {
			return false // one that is less than 0 has been told already
		}
		asked = true
	}
	return asked
}
