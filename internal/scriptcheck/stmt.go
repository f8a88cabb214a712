package scriptcheck

import (
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// stmt follows one statement: its redirections first, as they tell what it reads and where its output goes.
func (w *walker) stmt(s *syntax.Stmt, c context) {
	if s == nil || w.depth > deepest || w.seq > most {
		return
	}
	w.depth++
	defer func() { w.depth-- }()
	c.checked = c.checked || s.Negated
	c.background = c.background || s.Background || s.Coprocess
	var after []func()
	for _, r := range s.Redirs {
		if done := w.redirect(r, &c); done != nil {
			after = append(after, done)
		}
	}
	w.cmd(s.Cmd, c)
	for _, done := range after {
		done()
	}
}

func (w *walker) cmd(cmd syntax.Command, c context) {
	switch x := cmd.(type) {
	case *syntax.CallExpr:
		w.callExpr(x, c)
	case *syntax.DeclClause:
		for _, a := range x.Args {
			w.assign(a, c)
		}
	case *syntax.Block:
		w.stmts(x.Stmts, c)
	case *syntax.Subshell:
		w.stmts(x.Stmts, c)
	case *syntax.BinaryCmd:
		w.binary(x, c)
	case *syntax.IfClause:
		w.ifClause(x, c)
	case *syntax.WhileClause:
		w.loop(x.Cond, x.Do, c)
	case *syntax.ForClause:
		w.loop(nil, x.Do, c)
	case *syntax.CaseClause:
		w.caseClause(x, c)
	case *syntax.CoprocClause:
		c.background, c.in.live = true, true
		w.stmt(x.Stmt, c)
	case *syntax.TimeClause:
		w.stmt(x.Stmt, c)
	case *syntax.TestClause:
		w.test(x, "")
	case *syntax.ArithmCmd:
		w.test(x, "")
	}
}

func (w *walker) test(n syntax.Node, left string) {
	if !w.mute && !w.foreign {
		w.v.tests = append(w.v.tests, test{w.line(n.Pos()), left, source(n)})
	}
}

func (w *walker) binary(x *syntax.BinaryCmd, c context) {
	left, right := c, c
	switch x.Op {
	case syntax.AndStmt:
		left.checked = true
	case syntax.OrStmt:
		left.checked, right.failing = true, true
	default:
		out := &capture{pipe: true}
		left.out = out
		w.stmt(x.X, left)
		right.in = input{text: out.text, live: out.live}
		w.stmt(x.Y, right)
		return
	}
	w.stmt(x.X, left)
	w.stmt(x.Y, right)
}

// statusTest is a condition that holds after a failure.
var statusTest = regexp.MustCompile(`(?i)\$(\?|\{?\w*(rc|status|ret|code|result|err)\w*\}?)"?\s*(-ne|!=|-gt|>)\s*"?0`)

func (w *walker) ifClause(x *syntax.IfClause, c context) {
	cond := c
	cond.checked = true
	w.stmts(x.Cond, cond)
	then, otherwise := c, c
	raw, negated, runs := "", false, false
	for _, s := range x.Cond {
		raw += source(s) + " "
		negated = negated || s.Negated
		runs = runs || !isTest(s)
	}
	if phase := phaseOfTest(raw); phase != "" {
		then.phase, otherwise.phase = phase, opposite(phase)
	} else if len(x.Cond) > 0 { // the last else has none
		then.failing = then.failing || negated || statusTest.MatchString(raw)
		otherwise.failing = otherwise.failing || runs && !negated
	}
	w.stmts(x.Then, then)
	if x.Else != nil {
		if len(x.Else.Cond) > 0 { // elif: what it compares with tells the phase anew
			otherwise.phase = c.phase
		}
		w.ifClause(x.Else, otherwise)
	}
}

// isTest reports whether a condition only compares; its other branch is no failure.
func isTest(s *syntax.Stmt) bool {
	switch x := s.Cmd.(type) {
	case *syntax.TestClause, *syntax.ArithmCmd:
		return true
	case *syntax.CallExpr:
		return len(x.Args) > 0 && slices.Contains([]string{"[", "test", "grep"}, x.Args[0].Lit())
	case *syntax.BinaryCmd:
		return isTest(x.Y)
	}
	return false
}

// loop follows the body once. A loop that looks at something waits for it; one that only sleeps is a longer sleep.
func (w *walker) loop(cond, body []*syntax.Stmt, c context) {
	idle := []string{"sleep", "echo", "printf", "logger", "true", ":", "let", "seq", "date"}
	looks := false
	for _, s := range slices.Concat(cond, body) {
		syntax.Walk(s, func(n syntax.Node) bool {
			if call, ok := n.(*syntax.CallExpr); ok && len(call.Args) > 0 {
				looks = looks || !slices.Contains(idle, call.Args[0].Lit())
			}
			_, test := n.(*syntax.TestClause)
			looks = looks || test
			return !looks
		})
	}
	inner := c
	inner.checked = true
	w.stmts(cond, inner)
	inner.checked, inner.looped = c.checked, c.looped || looks
	if c.out != nil {
		c.out.live = true
	}
	w.stmts(body, inner)
}

func (w *walker) caseClause(x *syntax.CaseClause, c context) {
	subject := w.word(x.Word, c)
	for _, item := range x.Items {
		inner := c
		for _, p := range item.Patterns {
			pattern := w.word(p, c)
			if phase := phaseOfWord(pattern.s); phase != "" {
				inner.phase = phase
			}
			if !w.mute && !w.foreign {
				w.v.tests = append(w.v.tests, test{w.line(p.Pos()), source(x.Word), subject.s + " == " + pattern.s})
			}
		}
		w.stmts(item.Stmts, inner)
	}
}

var (
	preWords  = []string{"freeze", "pre", "prescript", "pre-script", "pre_script", "presnapshot", "pre-snapshot", "quiesce", "lock", "backup-start"}
	postWords = []string{"thaw", "post", "postscript", "post-script", "post_script", "postsnapshot", "post-snapshot", "unfreeze", "freezefail", "unquiesce", "unlock", "backup-abort"}
	compared  = regexp.MustCompile(`={1,2}\s*["']?([A-Za-z_-]+)`)
)

// phaseOfWord tells when a host calls with a word.
func phaseOfWord(word string) Purpose {
	word = strings.ToLower(strings.TrimSpace(word))
	switch {
	case slices.Contains(preWords, word):
		return Pre
	case slices.Contains(postWords, word):
		return Post
	}
	return ""
}

func phaseOfTest(raw string) Purpose {
	if m := compared.FindStringSubmatch(raw); m != nil {
		return phaseOfWord(m[1])
	}
	return ""
}

func opposite(p Purpose) Purpose {
	if p == Pre {
		return Post
	}
	return Pre
}
