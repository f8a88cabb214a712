package scriptcheck

import "strings"

// longest bounds what a variable may grow to while it is followed (A=$A$A).
const longest = 32 << 10

// text is a string that remembers the lines where its pieces stand: a statement's finding shall point at the statement, not at the
// client that it is given to.
type text struct {
	s     string
	marks []mark
}

type mark struct {
	at, line int
	literal  bool // line breaks in it are those of the script
	foreign  bool // it stands in another file
}

func plain(s string) text { return text{s: s} }

func (t *text) add(s string, line int, literal, foreign bool) {
	if s == "" || len(t.s)+len(s) > longest {
		return
	}
	t.marks = append(t.marks, mark{len(t.s), line, literal, foreign})
	t.s += s
}

func (t *text) append(more text) {
	if len(t.s)+len(more.s) > longest || len(t.marks)+len(more.marks) > longest {
		return
	}
	for _, m := range more.marks {
		m.at += len(t.s)
		t.marks = append(t.marks, m)
	}
	t.s += more.s
}

// place tells the line of a byte of the text, and whether that is a line of another file.
func (t text) place(at int) (line int, foreign bool) {
	for i, m := range t.marks {
		if m.at > at {
			break
		}
		line, foreign = m.line, m.foreign
		if !m.literal {
			continue
		}
		end := at
		if i+1 < len(t.marks) {
			end = min(end, t.marks[i+1].at)
		}
		line += strings.Count(t.s[m.at:min(end, len(t.s))], "\n")
	}
	return line, foreign
}

// slice is a part of the text, with its lines.
func (t text) slice(from, to int) text {
	line, foreign := t.place(from)
	out := text{s: t.s[from:to]}
	out.marks = []mark{{0, line, t.literalAt(from), foreign}}
	for _, m := range t.marks {
		if m.at > from && m.at < to {
			m.at -= from
			out.marks = append(out.marks, m)
		}
	}
	return out
}

func (t text) literalAt(at int) bool {
	literal := false
	for _, m := range t.marks {
		if m.at <= at {
			literal = m.literal
		}
	}
	return literal
}

// fields splits at white space, as the shell does with a variable that is not quoted.
func (t text) fields() []text {
	var out []text
	from := -1
	for i := 0; i <= len(t.s); i++ {
		space := i == len(t.s) || strings.IndexByte(" \t\n", t.s[i]) >= 0
		switch {
		case space && from >= 0:
			out = append(out, t.slice(from, i))
			from = -1
		case !space && from < 0:
			from = i
		}
	}
	return out
}
