// Package scriptcheck reads the pre and post scripts that people have around snapshots, and tells the known mistakes in them:
// where, why it hurts, and what to do instead. It runs nothing and opens no file: scripts in, findings out.
//
// Shell scripts are parsed, and followed as the shell would: into functions, sourced files, traps, the arms of a case for
// freeze and thaw, with the variables whose value is known. What the script only learns while it runs stays unknown, and what is
// unknown is no finding: a wrong alarm costs more trust than a missed one.
//
// Python scripts are read as text, line by line: literals of commands and of SQL are understood, variables, classes and
// imports are not. Scripts in other languages are not read.
//
// A finding never quotes a script, as passwords stand in scripts.
package scriptcheck

import (
	"cmp"
	"slices"
)

// Purpose tells when a host runs a script.
type Purpose string

// The purposes. A script for both gets an argument, such as freeze or thaw, that tells which.
const (
	Pre  Purpose = "pre"
	Post Purpose = "post"
	Both Purpose = "both"
)

// The programs that a script can be run by, whatever its first line says.
const (
	BySh     = "sh"     // as Azure does: `sh SCRIPT`
	ByBash   = "bash"   // `bash SCRIPT`
	ByPython = "python" // `python3 SCRIPT`
	BySQL    = "sql"    // no script: statements that a client is given
)

// Script is one file.
type Script struct {
	Path    string
	Content []byte
	Purpose Purpose
	// RunBy is the program that runs it, where that is not left to its first line.
	RunBy string
	// Host is the word after "holdstill hook" for the host that runs it, for the remedy.
	Host string
}

// World is what is known about the machine. All of it may be empty.
type World struct {
	Product string // mysql, mariadb or percona
	Version string
	Sh      string // the shell that /bin/sh is: dash, bash
}

// Finding is one mistake.
type Finding struct {
	Path   string `json:"path"`
	Line   int    `json:"line"`
	Rule   string `json:"rule"`
	What   string `json:"what"`
	Why    string `json:"why"`
	Remedy string `json:"remedy"`
}

// largest is how much of a script is read. Nobody writes more by hand, and a parser must not be led into any depth.
const largest = 128 << 10

// Check reads the scripts of one host, which belong together: what the pre script has looked at, the post script knows.
func Check(scripts []Script, world World) []Finding {
	g := &group{world: world, scripts: scripts}
	for _, s := range scripts {
		g.views = append(g.views, open(g, s))
	}
	out := []Finding{}
	for _, v := range g.views {
		for _, r := range rules {
			for _, m := range r.find(g, v) {
				out = append(out, m.finding(r, v))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
	return slices.CompactFunc(out, func(a, b Finding) bool { return a == b })
}

// group is a set of scripts that belong together.
type group struct {
	world   World
	scripts []Script
	views   []*view
}

// script finds one of the group by its path.
func (g *group) script(path string) (Script, bool) {
	i := slices.IndexFunc(g.scripts, func(s Script) bool { return s.Path == path })
	if i < 0 {
		return Script{}, false
	}
	return g.scripts[i], true
}

// mistake is what a rule found; what it says stands for the rule's own words.
type mistake struct {
	line   int
	what   string
	why    string
	remedy string
}

func (m mistake) finding(r rule, v *view) Finding {
	f := Finding{Path: v.script.Path, Line: max(m.line, 1), Rule: r.name, What: m.what}
	f.Why = cmp.Or(m.why, r.why)
	f.Remedy = withHost(cmp.Or(m.remedy, r.remedy), v.script.Host)
	return f
}
