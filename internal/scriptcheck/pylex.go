package scriptcheck

import (
	"regexp"
	"strconv"
	"strings"
)

// pyLine is one logical line of a Python script: literals are taken out of the code and stand there as "0", "1", ...
type pyLine struct {
	line     int
	indent   int
	code     string
	literals []text
}

// pyLines takes a script apart as far as strings, brackets and comments go.
func pyLines(content string) []pyLine {
	var out []pyLine
	var code strings.Builder
	current := pyLine{line: 1, indent: -1}
	line, depth := 1, 0
	flush := func() {
		current.code = strings.TrimSpace(code.String())
		if current.code != "" {
			out = append(out, current)
		}
		code.Reset()
		current = pyLine{indent: -1}
	}
	for i := 0; i < len(content); {
		if current.indent < 0 {
			current.line, current.indent = line, indentOf(content[i:])
		}
		switch c := content[i]; {
		case c == '#':
			for i < len(content) && content[i] != '\n' {
				i++
			}
			continue
		case c == '"' || c == '\'':
			value, end := pyString(content, i)
			var t text
			t.add(pyValue(value, &code), line, true, false)
			code.WriteString(`"` + strconv.Itoa(len(current.literals)) + `"`)
			current.literals = append(current.literals, t)
			line += strings.Count(content[i:end], "\n")
			i = end
			continue
		case c == '\\' && strings.HasPrefix(content[i:], "\\\n"):
			i, line = i+2, line+1
			continue
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth = max(depth-1, 0)
		}
		switch {
		case content[i] == '\n' && depth == 0:
			flush()
		case content[i] == '\n':
			code.WriteByte(' ')
		default:
			code.WriteByte(content[i])
		}
		if content[i] == '\n' {
			line++
		}
		i++
	}
	flush()
	return out
}

func indentOf(s string) int { return len(s) - len(strings.TrimLeft(s, " \t")) }

// pyString finds the end of a string, and what is between its quotes.
func pyString(s string, at int) (value string, end int) {
	quote := s[at : at+1]
	if strings.HasPrefix(s[at:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	for i := at + len(quote); i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case strings.HasPrefix(s[i:], quote):
			return s[at+len(quote) : i], i + len(quote)
		case s[i] == '\n' && len(quote) == 1: // not closed
			return s[at+1 : i], i
		}
	}
	return s[min(at+len(quote), len(s)):], len(s)
}

var (
	pyPrefix = regexp.MustCompile(`(?i)\b[rbuf]{1,2}$`)
	pyHole   = regexp.MustCompile(`\{[^{}]*\}|%\(\w+\)s|%[sd]`)
)

// pyValue is the value of a literal: what is filled in while it runs is unknown, as a variable of the shell is. The prefix of the
// literal is taken off the code.
func pyValue(raw string, code *strings.Builder) string {
	if before := code.String(); pyPrefix.MatchString(before) {
		code.Reset()
		code.WriteString(pyPrefix.ReplaceAllString(before, ""))
	}
	raw = strings.NewReplacer(`\n`, " ", `\"`, `"`, `\'`, `'`, "\\\n", " ").Replace(raw)
	return pyHole.ReplaceAllString(raw, "$$x")
}
