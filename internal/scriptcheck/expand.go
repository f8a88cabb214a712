package scriptcheck

import (
	"path"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// fields expands words as the shell does for a command: "$@" and a variable that is not quoted can be several. Every word is
// expanded once, as the commands inside it are followed then.
func (w *walker) fields(words []*syntax.Word, c context) []text {
	var out []text
	for _, word := range words {
		if list, ok := w.several(word, c); ok {
			out = append(out, list...)
		} else {
			out = append(out, w.word(word, c))
		}
	}
	return out
}

// several expands a word that is one variable, where that makes more words than one.
func (w *walker) several(word *syntax.Word, c context) ([]text, bool) {
	if len(word.Parts) != 1 {
		return nil, false
	}
	part, quoted := word.Parts[0], false
	if q, ok := part.(*syntax.DblQuoted); ok && len(q.Parts) == 1 {
		part, quoted = q.Parts[0], true
	}
	p, ok := part.(*syntax.ParamExp)
	if !ok || p.Param == nil || p.Exp != nil && p.Exp.Op != syntax.DefaultUnsetOrNull {
		return nil, false
	}
	name := p.Param.Value
	switch {
	case (name == "@" || name == "*" && !quoted) && c.args != nil:
		return c.args, true
	case p.Index != nil && source(p.Index) == "@" && len(w.vars[name]) > 0:
		return w.vars[name], true
	case !quoted && p.Index == nil && len(w.vars[name]) == 1:
		return w.vars[name][0].fields(), true
	}
	return nil, false
}

// word expands one word to one text. What is not known stays as it is written: $NAME.
func (w *walker) word(word *syntax.Word, c context) text {
	var t text
	if word != nil {
		w.parts(&t, word.Parts, c, false)
	}
	return t
}

func (w *walker) parts(t *text, parts []syntax.WordPart, c context, quoted bool) {
	for _, part := range parts {
		line := w.line(part.Pos())
		switch x := part.(type) {
		case *syntax.Lit:
			t.add(unescape(x.Value, quoted), line, w.here == 0, w.foreign)
		case *syntax.SglQuoted:
			t.add(x.Value, line, w.here == 0, w.foreign)
		case *syntax.DblQuoted:
			w.parts(t, x.Parts, c, true)
		case *syntax.ParamExp:
			t.append(w.param(x, c))
		case *syntax.CmdSubst:
			t.append(w.substitute(x.Stmts, part, c))
		case *syntax.ProcSubst:
			t.append(w.substitute(x.Stmts, part, c))
		default:
			t.add("$((", line, false, w.foreign)
		}
	}
}

func unescape(s string, quoted bool) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (!quoted || strings.IndexByte("$`\"\\\n", s[i+1]) >= 0) {
			i++
			if s[i] == '\n' {
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// param is the value of a variable or an argument.
func (w *walker) param(p *syntax.ParamExp, c context) text {
	unknown := text{}
	if p.Param == nil {
		return unknown
	}
	name := p.Param.Value
	unknown.add("$"+name, w.line(p.Pos()), false, w.foreign)
	if name == "0" && p.Exp != nil && (p.Exp.Op == syntax.RemSmallSuffix || p.Exp.Op == syntax.RemLargeSuffix) {
		return w.directory(p)
	}
	value, known := w.value(name, c)
	switch {
	case p.Length || p.Slice != nil || p.Repl != nil || p.Excl || p.Index != nil && source(p.Index) != "@" && source(p.Index) != "*":
		return unknown
	case known:
		return value
	case p.Exp != nil && (p.Exp.Op == syntax.DefaultUnset || p.Exp.Op == syntax.DefaultUnsetOrNull || p.Exp.Op == syntax.AssignUnset || p.Exp.Op == syntax.AssignUnsetOrNull):
		return w.word(p.Exp.Word, c)
	}
	return unknown
}

func (w *walker) value(name string, c context) (text, bool) {
	if n, err := strconv.Atoi(name); err == nil {
		if n == 0 {
			return plain(w.v.script.Path), true
		}
		if n <= len(c.args) {
			return c.args[n-1], true
		}
		return text{}, false
	}
	list := w.vars[name]
	if name == "@" || name == "*" {
		list = c.args
	}
	if len(list) == 0 {
		return text{}, false
	}
	return joined(list), true
}

func joined(list []text) text {
	var out text
	for i, t := range list {
		if i > 0 {
			out.add(" ", 0, false, false)
			out.marks[len(out.marks)-1].line, out.marks[len(out.marks)-1].foreign = t.place(0)
		}
		out.append(t)
	}
	return out
}

// substitute follows the commands inside $(...), and returns what they are known to print.
func (w *walker) substitute(stmts []*syntax.Stmt, part syntax.Node, c context) text {
	out := &capture{}
	c.out, c.background = out, false
	if raw := source(part); strings.Contains(raw, "dirname") && (strings.Contains(raw, "$0") || strings.Contains(raw, "BASH_SOURCE")) {
		return w.directory(part)
	}
	w.stmts(stmts, c)
	if out.text.s == "" {
		out.text.add("$()", w.line(part.Pos()), false, w.foreign)
	}
	out.text.s = strings.TrimRight(out.text.s, "\n")
	return out.text
}

// directory is the one that the script lies in.
func (w *walker) directory(n syntax.Node) text {
	var t text
	t.add(path.Dir(w.v.script.Path), w.line(n.Pos()), false, w.foreign)
	return t
}

func (w *walker) assign(a *syntax.Assign, c context) {
	if a.Name == nil {
		return
	}
	name, raw := a.Name.Value, ""
	var value text
	switch {
	case a.Array != nil:
		w.vars[name] = nil
		for _, e := range a.Array.Elems {
			w.vars[name] = append(w.vars[name], w.word(e.Value, c))
		}
		value, raw = joined(w.vars[name]), source(a)
	case a.Naked:
		return
	case a.Value != nil:
		value, raw = w.word(a.Value, c), source(a.Value)
		fallthrough
	default:
		if a.Append && len(w.vars[name]) == 1 {
			all := w.vars[name][0]
			all.append(value)
			value = all
		}
		w.vars[name] = []text{value}
	}
	if !w.mute {
		w.v.assigned = append(w.v.assigned, assignment{name, value.s, raw, w.line(a.Pos()), !strings.Contains(value.s, "$"), c.when, w.foreign})
	}
}
