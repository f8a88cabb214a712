package scriptcheck

import (
	"bytes"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// view is what a script was understood to do.
type view struct {
	script   Script
	lang     language
	file     *syntax.File // of a shell script
	posix    bool         // it is run by a shell that knows no more than POSIX
	fault    string       // why it could not be read, else ""
	faultAt  int
	errexit  bool // set -e
	reexec   bool // it starts itself again in bash
	commands []*command
	sessions []*session
	tests    []test
	assigned []assignment
	files    []string // that a client reads
}

// command is one run of a program, as far as its words are known.
type command struct {
	seq     int
	line    int
	foreign bool   // it stands in a sourced file, and is told there
	name    string // without its directory
	words   []text // with the name
	when
	piped bool // its output goes to another program
}

// when tells under which circumstances something happens.
type when struct {
	phase      Purpose
	failing    bool // only after something failed
	trapped    bool // in the handler of a trap
	background bool
	looped     bool // in a loop that looks at something
	checked    bool // somebody looks at its status
}

// session is one run of a database client, with the statements that it is given.
type session struct {
	command    *command
	live       bool // it stays as long as the script wants: a coprocess, a fifo
	statements []*statement
}

// statement is one SQL statement.
type statement struct {
	seq     int
	sql     string // white space made one, no comments
	line    int
	foreign bool
	argv    bool // it stands on the command line
	session *session
	when
}

// test is a comparison.
type test struct {
	line int
	left string // "" where source holds all of it
	text string
}

type assignment struct {
	name  string
	value string // with what is known filled in
	raw   string // as written
	line  int
	known bool // nothing of the value comes from elsewhere
	when
	foreign bool
}

// language is what a script is written in.
type language int

const (
	unread language = iota // not a script, or in a language that is not read
	shell
	python
	sqlFile
)

// languageOf tells a script's language and, of a shell script, whether a POSIX shell runs it.
func languageOf(s Script) (lang language, posix bool) {
	interpreter := s.RunBy
	if interpreter == "" {
		interpreter = shebang(s.Content)
	}
	switch name := strings.TrimRight(interpreter, "0123456789."); name {
	case "sh", "dash", "ash":
		return shell, true
	case "bash", "ksh", "mksh", "zsh":
		return shell, false
	case "python":
		return python, false
	case BySQL:
		return sqlFile, false
	case "":
		if path.Ext(s.Path) == ".py" {
			return python, false
		}
		return shell, true // the kernel refuses it, and whoever starts it falls back to sh
	}
	return unread, false
}

// shebang is the name of the program of the first line.
func shebang(content []byte) string {
	first, _, _ := bytes.Cut(content, []byte("\n"))
	line, ok := strings.CutPrefix(strings.TrimSpace(string(first)), "#!")
	if !ok {
		return ""
	}
	for _, word := range strings.Fields(line) {
		if name := path.Base(word); name != "env" && !strings.HasPrefix(word, "-") {
			return name
		}
	}
	return ""
}

// panicked is the fault of a script that the reading itself stumbled over.
const panicked = "it could not be understood"

// open reads a script. Whatever stands in it, doctor goes on.
func open(g *group, s Script) (v *view) {
	v = &view{script: s, faultAt: 1}
	if bytes.IndexByte(s.Content, 0) >= 0 || len(bytes.TrimSpace(s.Content)) == 0 {
		return v // a program, or nothing
	}
	v.lang, v.posix = languageOf(s)
	if v.lang != unread && (len(s.Content) > largest || nesting(s.Content) > deepestNesting) {
		v.lang, v.fault = unread, "it is too long, or nested too deeply, to be read"
		return v
	}
	defer func() {
		if recover() != nil { // a parser's, over somebody else's text
			v = &view{script: s, fault: panicked, faultAt: 1}
		}
	}()
	switch v.lang {
	case shell:
		readShell(g, v)
	case python:
		readPython(g, v)
	case sqlFile:
		readSQL(g, v)
	}
	return v
}

// deepestNesting is far above what people write; a parser's stack is not without end.
const deepestNesting = 200

// nesting is how many brackets are open at most. Quotes and the patterns of a case are not understood here, and matter little.
func nesting(content []byte) int {
	depth, most := 0, 0
	for _, c := range content {
		switch c {
		case '(', '{', '[':
			depth++
		case ')', '}', ']':
			depth = max(depth-1, 0)
		}
		most = max(most, depth)
	}
	return most
}

// statements lists those of all clients.
func (v *view) statements() []*statement {
	var out []*statement
	for _, s := range v.sessions {
		out = append(out, s.statements...)
	}
	return out
}
