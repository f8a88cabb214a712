package scriptcheck

import (
	"regexp"
	"strconv"
	"strings"
)

// pyReader reads a Python script line by line; indentation tells loops, handlers and the branch of freeze or thaw.
type pyReader struct {
	w      *walker
	blocks []pyBlock
	own    map[Purpose]*session // the script's own connection
	vars   map[string]text
	stays  bool // it leaves a process behind, or is one
}

type pyBlock struct {
	indent int
	when   when
}

var (
	pyHeader  = regexp.MustCompile(`^(if|elif|else|for|while|def|try|except|finally|with|class|async)\b.*:`)
	pySleep   = regexp.MustCompile(`\bsleep\(([^)]*)\)`)
	pyRun     = regexp.MustCompile(`\b(?:os\.(?:system|popen)|(?:subprocess\.)?(?:call|run|Popen|check_call|check_output|getoutput|getstatusoutput))\((.*)$`)
	pyExecute = regexp.MustCompile(`\.(?:execute|query|cmd_query)\(\s*(?:"(\d+)"|(\w+))`)
	pyAssign  = regexp.MustCompile(`^(\w+)\s*=\s*([^=].*)$`)
	pyPwd     = regexp.MustCompile(`"(\d+)"\s*(?:\]\s*=|:)\s*"(\d+)"`)
	pyLiteral = regexp.MustCompile(`"(\d+)"`)
	pyStays   = regexp.MustCompile(`\b(fork|daemon\w*|setsid|DaemonContext|multiprocessing)\b`)
)

func readPython(g *group, v *view) {
	lines := pyLines(string(v.script.Content))
	r := &pyReader{w: &walker{g: g, v: v, vars: map[string][]text{}, funcs: map[string]function{}, files: map[string]text{}, fifos: map[string]bool{}, called: map[string]bool{}},
		own: map[Purpose]*session{}, vars: map[string]text{}}
	for _, l := range lines {
		r.stays = r.stays || pyStays.MatchString(l.code)
	}
	for _, l := range lines {
		r.read(l)
	}
}

func (r *pyReader) read(l pyLine) {
	for len(r.blocks) > 0 && r.blocks[len(r.blocks)-1].indent >= l.indent {
		r.blocks = r.blocks[:len(r.blocks)-1]
	}
	at := when{phase: r.w.v.script.Purpose}
	if len(r.blocks) > 0 {
		at = r.blocks[len(r.blocks)-1].when
	}
	if m := pyHeader.FindStringSubmatch(l.code); m != nil {
		r.blocks = append(r.blocks, pyBlock{l.indent, l.inside(m[1], at)})
	}
	r.w.here = l.line
	r.assign(l, at)
	r.sleeps(l, at)
	r.runs(l, at)
	r.executes(l, at)
	if strings.Contains(l.code, "==") || strings.Contains(l.code, "!=") {
		r.w.v.tests = append(r.w.v.tests, test{line: l.line, text: l.full(l.code)})
	}
}

// inside is what a header means for its block.
func (l pyLine) inside(header string, at when) when {
	switch header {
	case "for", "while":
		at.looped = true
	case "except", "finally":
		at.failing = true
	case "if", "elif":
		if phase := phaseOfTest(l.full(l.code)); phase != "" {
			at.phase = phase
		}
	case "def":
		name, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(l.code, "def")), "(")
		for _, word := range strings.Split(name, "_") {
			if phase := phaseOfWord(word); phase != "" {
				at.phase = phase
				break
			}
		}
	}
	return at
}

// full is code with its literals in their places.
func (l pyLine) full(code string) string {
	return pyLiteral.ReplaceAllStringFunc(code, func(s string) string { return `"` + l.literal(strings.Trim(s, `"`)).s + `"` })
}

func (l pyLine) literal(index string) text {
	if n, err := strconv.Atoi(index); err == nil && n < len(l.literals) {
		return l.literals[n]
	}
	return text{}
}

func (r *pyReader) assign(l pyLine, at when) {
	if m := pyAssign.FindStringSubmatch(l.code); m != nil {
		value := l.full(m[2])
		if only := pyLiteral.FindStringSubmatch(m[2]); only != nil && only[0] == strings.TrimSpace(m[2]) {
			r.vars[m[1]] = l.literal(only[1])
			value = r.vars[m[1]].s
		}
		r.w.v.assigned = append(r.w.v.assigned, assignment{name: m[1], value: value, raw: l.full(m[2]), line: l.line, when: at})
	}
	for _, m := range pyPwd.FindAllStringSubmatch(l.code, -1) {
		if l.literal(m[1]).s == "MYSQL_PWD" {
			r.w.v.assigned = append(r.w.v.assigned, assignment{name: "MYSQL_PWD", value: l.literal(m[2]).s, line: l.line, known: true, when: at})
		}
	}
}

func (r *pyReader) sleeps(l pyLine, at when) {
	for _, m := range pySleep.FindAllStringSubmatch(l.code, -1) {
		r.w.seq++
		r.w.v.commands = append(r.w.v.commands, &command{seq: r.w.seq, line: l.line, name: "sleep", words: []text{plain("sleep"), plain(m[1])}, when: at})
	}
}

// runs follows the programs that a line starts, given as a list of words or as a line for the shell.
func (r *pyReader) runs(l pyLine, at when) {
	m := pyRun.FindStringSubmatch(l.code)
	if m == nil {
		return
	}
	c := context{when: at}
	c.checked = true // whether Python looks at it is not understood
	c.in.live = strings.Contains(l.code, "Popen") && strings.Contains(l.code, "stdin")
	rest := strings.TrimSpace(m[1])
	if !strings.HasPrefix(rest, "[") {
		if first := pyLiteral.FindStringSubmatch(rest); first != nil {
			r.w.nested(l.literal(first[1]), l.line, c)
		}
		return
	}
	list, _, _ := strings.Cut(rest[1:], "]")
	var words []text
	for _, element := range strings.Split(list, ",") {
		word := plain("$x")
		if lit := pyLiteral.FindStringSubmatch(element); lit != nil {
			word = l.literal(lit[1])
			if strings.Contains(element, "+") || strings.Contains(element, "format") {
				word.s += "$x"
			}
		}
		if strings.TrimSpace(element) != "" {
			words = append(words, word)
		}
	}
	if len(words) > 0 {
		r.w.call(words, nil, c)
	}
}

// executes adds what the script sends over a connection of its own, which ends when the script does.
func (r *pyReader) executes(l pyLine, at when) {
	for _, m := range pyExecute.FindAllStringSubmatch(l.code, -1) {
		sent, known := r.vars[m[2]]
		if m[1] != "" {
			sent, known = l.literal(m[1]), true
		}
		if !known {
			continue
		}
		s := r.own[at.phase]
		if s == nil {
			s = &session{command: &command{line: l.line}, live: r.stays}
			r.own[at.phase] = s
			r.w.v.sessions = append(r.w.v.sessions, s)
		}
		r.w.tell(s, sent, false, context{when: at})
	}
}
