package scriptcheck

import (
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// load follows a sourced file of the same group for its variables and functions; what it says itself is told of it alone.
func (w *walker) load(words []text, line int, c context) {
	if len(words) == 0 || w.depth > deepest/2 {
		return
	}
	s, ok := w.g.script(w.resolve(words[0].s))
	if !ok || len(s.Content) > largest {
		return
	}
	file, _, err := parse(s.Content, true)
	if err != nil {
		return
	}
	w.declare(file, true)
	here, foreign, mute := w.here, w.foreign, w.mute
	w.here, w.foreign, w.mute = line, true, true
	w.stmts(file.Stmts, c)
	w.here, w.foreign, w.mute = here, foreign, mute
	if strings.Contains(string(s.Content), "set -e") {
		w.v.errexit = true
	}
}

// resolve makes a path that a script names absolute: what is relative most likely lies beside it.
func (w *walker) resolve(name string) string { return beside(w.v.script.Path, name) }

func beside(script, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(path.Dir(script), name)
}

// nested follows a string that a shell runs.
func (w *walker) nested(t text, line int, c context) {
	if w.depth > deepest/2 || strings.TrimSpace(t.s) == "" {
		return
	}
	file, _, err := parse([]byte(t.s), true)
	if err != nil {
		return
	}
	w.depth++
	here := w.here
	w.here = line
	w.stmts(file.Stmts, c)
	w.here = here
	w.depth--
}

// nestedShell follows sh -c, and su -c.
func (w *walker) nestedShell(words []text, line int, c context) {
	for i, t := range words {
		if strings.HasPrefix(t.s, "-") && strings.HasSuffix(t.s, "c") && i+1 < len(words) {
			w.nested(words[i+1], line, c)
			return
		}
	}
	if in := c.in.text; len(words) == 0 && in.s != "" { // a script in a heredoc
		w.nested(in, line, c)
	}
}

// trap follows a handler as something that happens when the script ends too early.
func (w *walker) trap(words []text, line int, c context) {
	if len(words) < 2 || words[0].s == "-" || words[0].s == "" {
		return
	}
	failure := slices.ContainsFunc(words[1:], func(t text) bool {
		return slices.Contains([]string{"EXIT", "0", "ERR", "TERM", "INT", "HUP", "15", "2", "1", "SIGTERM", "SIGINT", "SIGHUP"}, t.s)
	})
	if failure {
		c.trapped = true
		w.nested(words[0], line, c)
	}
}

// redirect takes one redirection into the context; what it returns is done when the statement is over.
func (w *walker) redirect(r *syntax.Redirect, c *context) func() {
	switch r.Op {
	case syntax.Hdoc, syntax.DashHdoc:
		c.in = input{text: w.word(r.Hdoc, *c)}
	case syntax.WordHdoc:
		c.in = input{text: w.word(r.Word, *c)}
	case syntax.RdrIn, syntax.RdrInOut:
		if isProcSubst(r.Word) {
			c.in = input{text: w.word(r.Word, *c)}
		} else {
			c.in = w.readFile(w.word(r.Word, *c).s)
		}
	case syntax.DplIn:
		c.in = input{live: true}
	case syntax.RdrOut, syntax.AppOut, syntax.ClbOut, syntax.DplOut:
		return w.redirectOut(r, c)
	}
	return nil
}

func isProcSubst(word *syntax.Word) bool {
	if word == nil || len(word.Parts) != 1 {
		return false
	}
	_, ok := word.Parts[0].(*syntax.ProcSubst)
	return ok
}

// redirectOut keeps what is written to a file, which a client may read later, and what is written to the open input of one.
func (w *walker) redirectOut(r *syntax.Redirect, c *context) func() {
	if r.N != nil && r.N.Value != "1" {
		return nil
	}
	target, outer := w.word(r.Word, *c), *c
	if r.Op == syntax.DplOut && (target.s == "1" || target.s == "2" || target.s == "-") {
		return nil
	}
	out := &capture{}
	c.out = out
	line := w.line(r.OpPos)
	return func() {
		switch {
		case r.Op == syntax.DplOut || w.fifos[target.s]:
			w.feed(out.text, line, outer)
		case r.Op == syntax.AppOut:
			all := w.files[target.s]
			all.append(out.text)
			w.files[target.s] = all
		default:
			w.files[target.s] = out.text
		}
	}
}

// readFile is what is known of a file that a program reads.
func (w *walker) readFile(name string) input {
	if w.fifos[name] || strings.HasPrefix(name, "/dev/fd") {
		return input{live: true}
	}
	if t, ok := w.files[name]; ok {
		return input{text: t}
	}
	var t text
	if s, ok := w.g.script(w.resolve(name)); ok && s.RunBy == BySQL {
		t.add(string(s.Content), 1, true, true)
	}
	return input{text: t, file: name}
}
