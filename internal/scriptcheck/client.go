package scriptcheck

import (
	"regexp"
	"strings"
)

// client follows one run of the database client: the statements of its arguments, then those that it reads.
func (w *walker) client(cmd *command, c context) {
	s := &session{command: cmd, live: c.in.live}
	given := clientStatements(cmd.words[1:])
	for _, t := range given {
		w.tell(s, t, true, c)
	}
	if len(given) == 0 {
		w.tell(s, c.in.text, false, c)
	}
	if !w.mute {
		w.v.sessions = append(w.v.sessions, s)
		if c.in.file != "" {
			w.v.files = append(w.v.files, c.in.file)
		}
	}
}

// valued are the short options of the clients that have a value; -p has one only if it is attached.
const valued = "DehPSuR"

// clientStatements finds the SQL among a client's arguments: -e SQL, -NBe SQL, -eSQL, --execute=SQL, --init-command=SQL.
func clientStatements(words []text) []text {
	var out []text
	for i := 0; i < len(words); i++ {
		s := words[i].s
		switch {
		case strings.HasPrefix(s, "--execute="), strings.HasPrefix(s, "--init-command="):
			out = append(out, words[i].slice(strings.Index(s, "=")+1, len(s)))
		case s == "--execute" && i+1 < len(words):
			i++
			out = append(out, words[i])
		case strings.HasPrefix(s, "-") && !strings.HasPrefix(s, "--"):
			at := strings.IndexAny(s, valued+"p")
			if at < 0 || s[at] == 'p' {
				continue
			}
			attached := at+1 < len(s)
			if !attached {
				i++
			}
			if s[at] == 'e' && attached {
				out = append(out, words[i].slice(at+1, len(s)))
			} else if s[at] == 'e' && i < len(words) {
				out = append(out, words[i])
			}
		}
	}
	return out
}

// feed is SQL that is written to a client which was started before and stays.
func (w *walker) feed(t text, line int, c context) {
	if w.mute || !startsSQL.MatchString(t.s) {
		return
	}
	w.seq++
	s := &session{command: &command{seq: w.seq, line: line, foreign: w.foreign, when: c.when}, live: true}
	w.tell(s, t, false, c)
	w.v.sessions = append(w.v.sessions, s)
}

var startsSQL = regexp.MustCompile(`(?i)^\s*(select|show|set|flush|lock|unlock|backup|start|stop|change|reset|purge|do|call)\b`)

// tell adds the statements of a text to a session.
func (w *walker) tell(s *session, t text, argv bool, c context) {
	for _, piece := range split(t) {
		w.seq++
		line, foreign := piece.place(0)
		if line == 0 {
			line = s.command.line
		}
		s.statements = append(s.statements, &statement{
			seq: w.seq, sql: normal(piece.s), line: line, foreign: foreign, argv: argv, session: s, when: c.when,
		})
	}
}

// split takes statements apart at semicolons, \G and \g outside of quotes and comments. The client's own commands (system, \!)
// end with their line.
func split(t text) []text {
	var out []text
	from, s := 0, t.s
	cut := func(to, next int) {
		start := from
		for start < to && strings.IndexByte(" \t\r\n", s[start]) >= 0 {
			start++
		}
		if start < to {
			out = append(out, t.slice(start, to))
		}
		from = next
	}
	for i := 0; i < len(s); {
		switch {
		case s[i] == '\'' || s[i] == '"' || s[i] == '`':
			i = skipQuoted(s, i)
		case strings.HasPrefix(s[i:], "/*") && !strings.HasPrefix(s[i:], "/*!"):
			end := strings.Index(s[i:], "*/")
			if end < 0 {
				end = len(s) - i - 2
			}
			cut(i, i+end+2)
			i += end + 2
		case strings.HasPrefix(s[i:], "-- ") || s[i] == '#':
			next := endOfLine(s, i)
			cut(i, next)
			i = next
		case s[i] == ';':
			cut(i, i+1)
			i++
		case strings.HasPrefix(s[i:], `\G`) || strings.HasPrefix(s[i:], `\g`):
			cut(i, i+2)
			i += 2
		case strings.TrimSpace(s[from:i]) == "" && clientCommand.MatchString(s[i:]):
			next := endOfLine(s, i)
			cut(next, next)
			i = next
		default:
			i++
		}
	}
	cut(len(s), len(s))
	return out
}

var clientCommand = regexp.MustCompile(`(?i)^(system\s|\\!|source\s|\\\.)`)

func endOfLine(s string, at int) int {
	if end := strings.IndexByte(s[at:], '\n'); end >= 0 {
		return at + end + 1
	}
	return len(s)
}

func skipQuoted(s string, at int) int {
	for i := at + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[at]:
			return i + 1
		}
	}
	return len(s)
}

// normal is a statement with its white space made one.
func normal(sql string) string { return strings.Join(strings.Fields(sql), " ") }

// readSQL reads a file of statements; what becomes of its locks is a matter of the client that is given it.
func readSQL(g *group, v *view) {
	var t text
	t.add(string(v.script.Content), 1, true, false)
	w := &walker{g: g, v: v}
	s := &session{command: &command{line: 1}, live: true}
	w.tell(s, t, false, context{when: when{phase: v.script.Purpose}})
	v.sessions = append(v.sessions, s)
}
