package scriptcheck

import (
	"regexp"
	"slices"
	"strings"
)

// fixedSleep: time instead of a look.
func fixedSleep(_ *group, v *view) []mistake {
	var out []mistake
	for _, c := range v.commands {
		if c.name != "sleep" || c.foreign || c.looped || len(c.words) < 2 || c.background && !c.piped {
			continue // a guard sleeps in the background, and a loop looks in between
		}
		if n := c.words[1].s; n != "infinity" && strings.Trim(n, "0.smhd") != "" {
			out = append(out, mistake{line: c.line, what: "a fixed sleep"})
		}
	}
	for _, s := range v.statements() {
		if sleepStatement.MatchString(s.sql) && !s.foreign {
			out = append(out, mistake{line: s.line, what: "a fixed sleep in the server"})
		}
	}
	return out
}

var (
	sleepStatement = regexp.MustCompile(`(?i)^(do|select)\b.*\bsleep ?\(`)
	thawWord       = regexp.MustCompile(`fsfreeze|xfs_freeze|thaw`)
)

// isPath reports whether a command is a program that is named by its place.
func (c *command) isPath() bool { return len(c.words) > 0 && strings.Contains(c.words[0].s, "/") }

// readOnlyOff: the value before is not known to the script.
func readOnlyOff(g *group, v *view) []mistake {
	var out []mistake
	for _, s := range v.statements() {
		if writable.MatchString(s.sql) && !s.foreign && !g.looked(v, s.seq, readsReadOnly) {
			out = append(out, mistake{line: s.line, what: "read_only is set to OFF, without a look at what it was before"})
		}
	}
	return out
}

var (
	writable      = sql(`SET .*\b(super_)?read_only ?:?= ?'?(OFF|0|FALSE)\b`)
	readsReadOnly = regexp.MustCompile(`(?i)^(select|show|with)\b.*read_only|^[^ ]*grep .*read_only|information_schema.*read_only|performance_schema.*read_only`)
	readsRunning  = regexp.MustCompile(`(?i)^show (all )?(slaves?|replicas?) status|replication_(applier|connection)_status|slave_running|(slave|replica)_(io|sql)_running`)
)

// replicationStarted: whether it ran before is not known to the script.
func replicationStarted(g *group, v *view) []mistake {
	var out []mistake
	for _, c := range v.changes() {
		if c.kind == replicating && c.undo && c.phase != Pre && !c.foreign && !g.looked(v, c.seq, readsRunning) {
			out = append(out, mistake{line: c.line, what: "replication is started, without a look at whether it ran before"})
		}
	}
	return out
}

// looked reports whether a script has asked for something before: pre for post, or the same script above.
func (g *group) looked(v *view, seq int, question *regexp.Regexp) bool {
	for _, other := range g.views {
		before := func(at int, phase Purpose) bool { return other == v && at < seq || other != v && phase != Post }
		if slices.ContainsFunc(other.statements(), func(s *statement) bool { return before(s.seq, s.phase) && question.MatchString(s.sql) }) {
			return true
		}
		if slices.ContainsFunc(other.commands, func(c *command) bool {
			return before(c.seq, c.phase) && strings.HasSuffix(c.name, "grep") && question.MatchString(joined(c.words).s)
		}) {
			return true
		}
	}
	return false
}

// roleByServerID: a comparison of the server's number with a number.
func roleByServerID(_ *group, v *view) []mistake {
	ids, numbers := map[string]bool{}, map[string]bool{}
	for _, a := range v.assigned {
		if serverID.MatchString(a.name) || serverID.MatchString(a.raw) || mentions(a.raw, ids) {
			ids[a.name] = true
		} else if number.MatchString(a.value) {
			numbers[a.name] = true
		}
	}
	isID := func(s string) bool {
		return serverID.MatchString(s) || mentions(s, ids) || ids[strings.Trim(s, `"'$ `)]
	}
	isNumber := func(s string) bool {
		s = strings.Trim(s, `"'${}:; `)
		return number.MatchString(s) && strings.Trim(s, "0") != "" || numbers[s]
	}
	var out []mistake
	add := func(line int) {
		out = append(out, mistake{line: line, what: "the role of the server is told from its server_id"})
	}
	for _, t := range v.tests {
		for _, m := range comparison.FindAllStringSubmatch(t.text, -1) {
			left, right := m[1], m[2]
			if t.left != "" {
				left = t.left
			}
			if isID(left) && isNumber(right) || isNumber(left) && isID(right) {
				add(t.line)
			}
		}
	}
	for _, s := range v.statements() {
		if !s.foreign && sqlRole.MatchString(s.sql) && !setting.MatchString(s.sql) {
			add(s.line)
		}
	}
	for _, c := range v.commands {
		if strings.HasSuffix(c.name, "grep") && !c.foreign && grepRole.MatchString(joined(c.words).s) {
			add(c.line)
		}
	}
	return slices.CompactFunc(out, func(a, b mistake) bool { return a.line == b.line })
}

var (
	serverID   = regexp.MustCompile(`(?i)server[-_]?id\b`)
	number     = regexp.MustCompile(`^[0-9]+$`)
	comparison = regexp.MustCompile(`([^\s\[(]+)\s*(?:-eq|-ne|==|!=|=)\s*([^\s\])]+)`)
	sqlRole    = regexp.MustCompile(`(?i)server_id ?(=|<>|!=) ?[1-9]`)
	setting    = sql(`(SET|CHANGE) `)
	grepRole   = regexp.MustCompile(`(?i)server.{0,5}id.{0,16}=.{0,12}[1-9]`)
	variable   = regexp.MustCompile(`\$\{?(\w+)`)
)

// mentions reports whether a word has the value of one of the variables in it.
func mentions(s string, names map[string]bool) bool {
	return slices.ContainsFunc(variable.FindAllStringSubmatch(s, -1), func(m []string) bool { return names[m[1]] })
}
