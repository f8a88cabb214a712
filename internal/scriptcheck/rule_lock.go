package scriptcheck

import "slices"

// lostLock: a lock that is taken by a client that ends at once.
func lostLock(_ *group, v *view) []mistake {
	var out []mistake
	for _, session := range v.sessions {
		for _, s := range session.statements {
			name := lockOf(s)
			if name == "" || s.phase == Post || !s.lost() || session.command.foreign && s.foreign {
				continue
			}
			line := s.line
			if s.foreign {
				line = session.command.line
			}
			out = append(out, mistake{line: line, what: name + " is sent by a client that ends at once"})
			break // the others of this client are lost with it
		}
	}
	return out
}

func lockOf(s *statement) string {
	for _, k := range sqlChanges {
		if k.kind == locking && !k.undo && k.pattern.MatchString(s.sql) {
			return k.what
		}
	}
	return ""
}

// freezeWithoutGuard: a freeze that nobody ends when post does not come.
func freezeWithoutGuard(g *group, v *view) []mistake {
	for _, other := range g.views {
		if slices.ContainsFunc(other.changes(), func(c change) bool { return c.kind == freezing && c.undo && c.background }) ||
			slices.ContainsFunc(other.commands, scheduledThaw) {
			return nil
		}
	}
	var out []mistake
	for _, c := range v.changes() {
		if c.kind == freezing && !c.undo && !c.foreign {
			out = append(out, mistake{line: c.line, what: "a file system is frozen, and nothing thaws it when post does not come"})
		}
	}
	return out
}

// scheduledThaw is systemd-run --on-active=60 fsfreeze -u.
func scheduledThaw(c *command) bool {
	return c.name == "systemd-run" && slices.ContainsFunc(c.words, func(t text) bool { return thawWord.MatchString(t.s) })
}

// noRollback: a pre script that changes something, goes on, and has no way back.
func noRollback(g *group, v *view) []mistake {
	if v.lang == sqlFile {
		return nil
	}
	all := v.changes()
	var open []change
	for _, c := range all {
		if c.undo || c.foreign || c.phase == Post || c.failing || c.trapped || !goesOn(v, all, c) || g.takesBack(c.kind) {
			continue
		}
		if c.kind == locking && !c.live {
			continue // it ends with its client
		}
		if !slices.ContainsFunc(open, func(o change) bool { return o.kind == c.kind }) {
			open = append(open, c)
		}
	}
	var out []mistake
	for _, c := range open {
		out = append(out, mistake{line: c.line, what: c.what + " is not undone if a later step fails"})
	}
	return out
}

// goesOn reports whether something that can fail comes after a change, before it is taken back on the straight way.
func goesOn(v *view, all []change, c change) bool {
	until := 1 << 30
	for _, later := range all {
		if later.seq > c.seq && later.kind == c.kind && later.undo && later.phase == c.phase && !later.failing && !later.trapped {
			until = min(until, later.seq)
		}
	}
	harmless := []string{"echo", "printf", "logger", "exit", "return", "true", ":", "date", "[", "test", "sleep", "trap"}
	return slices.ContainsFunc(v.commands, func(later *command) bool {
		return later.seq > c.seq && later.seq < until && later.phase != Post && !later.failing && !later.trapped && !slices.Contains(harmless, later.name)
	}) || slices.ContainsFunc(v.statements(), func(later *statement) bool {
		return later.seq > c.seq && later.seq < until && later.phase != Post && !later.failing && !later.trapped
	})
}

// takesBack reports whether a failure of pre takes back changes of a kind: itself, or by another program.
func (g *group) takesBack(k kind) bool {
	harmless := []string{"echo", "printf", "logger", "exit", "return", "true", ":", "date", "rm", "cat", "[", "test", "sleep", "mysql", "mariadb", "kill", "set", "trap", "false", "wait", "tee"}
	for _, v := range g.views {
		if slices.ContainsFunc(v.changes(), func(c change) bool { return c.kind == k && c.undo && c.phase != Post && (c.failing || c.trapped) }) {
			return true
		}
		for _, c := range v.commands {
			if c.phase == Post || !c.failing && !c.trapped {
				continue
			}
			if k == locking && c.name == "kill" { // of the client that has it
				return true
			}
			if (c.isPath() || runsScript(c.name)) && !slices.Contains(harmless, c.name) {
				return true
			}
		}
	}
	return false
}
