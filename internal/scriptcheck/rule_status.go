package scriptcheck

import (
	"fmt"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// statusIgnored: a script that cannot fail, whatever its steps do.
func statusIgnored(g *group, v *view) []mistake {
	if v.file == nil || v.errexit || len(v.file.Stmts) == 0 {
		return nil
	}
	last := v.file.Stmts[len(v.file.Stmts)-1]
	if !alwaysWell(last) {
		return nil
	}
	at := int(last.Pos().Line())
	for _, c := range v.changes() {
		if !c.checked && !c.foreign && !c.live && !c.trapped && !c.failing {
			return []mistake{{line: at, what: fmt.Sprintf("the script ends well whatever became of line %d (%s)", c.line, c.what)}}
		}
	}
	for _, c := range v.commands {
		if !c.checked && !c.foreign && (c.dispatches() || g.runs(v, c)) {
			return []mistake{{line: at, what: fmt.Sprintf("the script ends well whatever became of the script that line %d runs", c.line)}}
		}
	}
	return nil
}

// alwaysWell reports whether a last statement ends the script with 0.
func alwaysWell(s *syntax.Stmt) bool {
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || len(call.Args) == 0 || s.Negated {
		return false
	}
	switch call.Args[0].Lit() {
	case "exit":
		return len(call.Args) == 2 && call.Args[1].Lit() == "0"
	case "true", ":", "echo", "printf", "logger", "date":
		return true
	}
	return false
}

// runsScript tells the commands whose first argument is a script.
func runsScript(name string) bool {
	return slices.Contains([]string{"sh", "bash", "dash", "python", "python3"}, name)
}

// runs reports whether a command runs another script of the group.
func (g *group) runs(v *view, c *command) bool {
	if len(c.words) == 0 {
		return false
	}
	name := c.words[0].s
	if runsScript(c.name) {
		name = firstArgument(c.words)
	}
	_, ok := g.script(beside(v.script.Path, name))
	return ok && strings.Contains(name, "/")
}

// dispatches reports whether a command hands the script's own arguments on to a program that only a variable names.
func (c *command) dispatches() bool {
	return len(c.words) == 2 && strings.HasPrefix(c.words[0].s, "$") && slices.Contains([]string{"$@", "$1", "$*"}, c.words[1].s)
}
