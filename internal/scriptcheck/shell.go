package scriptcheck

import (
	"bytes"
	"errors"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// The limits of following a script: calls into calls, and all commands.
const (
	deepest = 60
	most    = 5000
)

// walker follows a shell script.
type walker struct {
	g       *group
	v       *view
	vars    map[string][]text // an array has several
	funcs   map[string]function
	files   map[string]text // what the script itself wrote
	fifos   map[string]bool
	called  map[string]bool
	here    int  // the line that counts, in text that stands elsewhere
	foreign bool // in a file that is told by itself
	mute    bool
	depth   int
	seq     int
}

type function struct {
	decl    *syntax.FuncDecl
	foreign bool
}

// context is what surrounds a statement.
type context struct {
	when
	args []text
	in   input
	out  *capture // where the output goes, where that is known
}

// input is what a program reads.
type input struct {
	text text
	live bool // more comes later
	file string
}

// capture collects what echo and its like write.
type capture struct {
	text text
	live bool
	pipe bool // to another program
}

func readShell(g *group, v *view) {
	file, at, err := parse(v.script.Content, v.posix)
	if err != nil {
		v.fault, v.faultAt = "it cannot be parsed", at
		return
	}
	v.file = file
	if first, _, _ := bytes.Cut(v.script.Content, []byte("\n")); v.script.RunBy == "" && flagE.Match(first) {
		v.errexit = true
	}
	w := &walker{g: g, v: v, vars: map[string][]text{}, funcs: map[string]function{}, files: map[string]text{}, fifos: map[string]bool{}, called: map[string]bool{}}
	w.declare(file, false)
	c := context{when: when{phase: v.script.Purpose}}
	w.stmts(file.Stmts, c)
	for _, f := range declarations(file) { // a library's, which others call
		if !w.called[f.Name.Value] {
			w.stmt(f.Body, c)
		}
	}
}

var flagE = regexp.MustCompile(`^#!.*\s-[a-z]*e`)

// parse takes bash for every shell: what a POSIX shell does not know of it is a rule's business. What only that one knows is
// tried last.
func parse(content []byte, posix bool) (file *syntax.File, line int, err error) {
	variants := []syntax.LangVariant{syntax.LangBash, syntax.LangMirBSDKorn}
	if posix {
		variants = []syntax.LangVariant{syntax.LangBash, syntax.LangPOSIX}
	}
	for _, variant := range variants {
		file, e := syntax.NewParser(syntax.Variant(variant)).Parse(bytes.NewReader(content), "")
		if e == nil {
			return file, 0, nil
		}
		if err == nil {
			err, line = e, lineOf(e)
		}
	}
	return nil, line, err
}

func lineOf(err error) int {
	var parse syntax.ParseError
	if errors.As(err, &parse) {
		return int(parse.Pos.Line())
	}
	var lang syntax.LangError
	if errors.As(err, &lang) {
		return int(lang.Pos.Line())
	}
	return 1
}

// declare makes a file's functions known: a trap may name one that comes below it.
func (w *walker) declare(file *syntax.File, foreign bool) {
	for _, f := range declarations(file) {
		w.funcs[f.Name.Value] = function{f, foreign}
	}
}

func declarations(file *syntax.File) []*syntax.FuncDecl {
	var out []*syntax.FuncDecl
	syntax.Walk(file, func(n syntax.Node) bool {
		if f, ok := n.(*syntax.FuncDecl); ok && f.Name != nil {
			out = append(out, f)
		}
		return true
	})
	return out
}

func (w *walker) stmts(list []*syntax.Stmt, c context) {
	for i, s := range list {
		inner := c
		if i+1 < len(list) && w.statusUsed(list[i+1]) {
			inner.checked = true
		}
		w.stmt(s, inner)
	}
}

// statusUsed reports whether a statement looks at the status of the one before it, or keeps it for a later look.
func (w *walker) statusUsed(next *syntax.Stmt) bool {
	raw := source(next)
	if !strings.Contains(raw, "$?") {
		return false
	}
	kept := keptStatus.FindStringSubmatch(raw)
	if kept == nil {
		return !strings.HasPrefix(raw, "echo") && !strings.HasPrefix(raw, "printf") && !strings.HasPrefix(raw, "logger")
	}
	look := regexp.MustCompile(`(?m)(\bexit|\breturn|\[|\(\(|\bcase|\btest)\b?[^\n]*\$?\{?\b` + kept[1] + `\b`)
	return look.Match(w.v.script.Content)
}

var keptStatus = regexp.MustCompile(`^(?:local\s+|declare\s+)?(\w+)="?\$\?"?$`)

// source is a node as it would be typed.
func source(n syntax.Node) string {
	var b strings.Builder
	if err := syntax.NewPrinter().Print(&b, n); err != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

func (w *walker) line(pos syntax.Pos) int {
	if w.here > 0 {
		return w.here
	}
	return int(pos.Line())
}
