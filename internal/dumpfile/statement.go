package dumpfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Statement is one statement of an SQL text. Text is valid until the next one is read.
type Statement struct {
	Text []byte // without the delimiter and the comments before it; what stands in /*! */ is no comment
	Line int    // where it begins, from 1
	// Opens counts the brackets that open outside of all others: the rows of an INSERT, and 1 more if it lists columns.
	Opens int
}

// Statements takes a text apart as the servers' own client does: quotes, comments, and the client's command DELIMITER.
type Statements struct {
	in    io.Reader
	buf   []byte
	start int   // of what is not handed out yet
	gone  int64 // bytes of the text that lay before buf
	pos   int   // up to here the lexer has looked
	eof   bool
	line  int
	delim []byte

	inside byte // 0, a quote, '-' a comment to the end of the line, '*' a comment, '!' what only some servers read
	depth  int
	opens  int
}

// statementMax bounds one statement: the servers' own bound for max_allowed_packet.
const statementMax = 1 << 30

// ErrTorn means that the text ends within a statement.
var ErrTorn = errors.New("the text ends within a statement")

// NewStatements reads from in.
func NewStatements(in io.Reader) *Statements {
	return &Statements{in: in, buf: make([]byte, 0, 1<<20), line: 1, delim: []byte(";")}
}

// Taken is how many bytes of the text lie before what comes next: the comments before the last statement, and its delimiter, are behind.
func (s *Statements) Taken() int64 { return s.gone + int64(s.start) }

// Next gives the next statement; io.EOF after the last one.
func (s *Statements) Next() (Statement, error) {
	for {
		if err := s.skip(); err != nil {
			return Statement{}, err
		}
		ours, err := s.delimiter()
		if err != nil {
			return Statement{}, err
		}
		if !ours {
			return s.statement()
		}
	}
}

// statement reads from its first byte to the delimiter.
func (s *Statements) statement() (Statement, error) {
	s.pos, s.inside, s.depth, s.opens = s.start, 0, 0, 0
	for !s.scan() {
		if err := s.more(); errors.Is(err, io.EOF) {
			if s.inside == 0 || s.inside == '-' { // the last one may lack its delimiter
				return s.hand(len(s.buf), 0), nil
			}
			return Statement{}, fmt.Errorf("line %d: %w", s.line, ErrTorn)
		} else if err != nil {
			return Statement{}, err
		}
	}
	return s.hand(s.pos, len(s.delim)), nil
}

// hand gives out what lies before end, and passes over the delimiter.
func (s *Statements) hand(end, delimiter int) Statement {
	out := Statement{Text: bytes.TrimRight(s.buf[s.start:end], " \t\r\n"), Line: s.line, Opens: s.opens}
	s.line += bytes.Count(s.buf[s.start:end], []byte{'\n'})
	s.start = end + delimiter
	return out
}

// special are the bytes that mean something outside of quotes.
var special = func() (t [256]bool) {
	for _, c := range []byte("'\"`-#/*()") {
		t[c] = true
	}
	return t
}()

// scan looks on from pos and reports whether the delimiter stands there. At the end of the buffer it keeps back as much as may
// belong together.
func (s *Statements) scan() bool {
	first := s.delim[0]
	for s.pos < len(s.buf) {
		if s.inside != 0 && s.inside != '!' {
			if !s.leave() {
				return false
			}
			continue
		}
		rest := s.buf[s.pos:]
		at := 0
		for at < len(rest) && !special[rest[at]] && rest[at] != first {
			at++
		}
		if s.pos += at; at == len(rest) || len(rest)-at < max(4, len(s.delim)) && !s.eof {
			return false
		}
		if s.inside == 0 && bytes.HasPrefix(s.buf[s.pos:], s.delim) {
			return true
		}
		s.enter(rest[at])
	}
	return false
}

// enter deals with one byte outside of quotes.
func (s *Statements) enter(c byte) {
	rest := s.buf[s.pos:]
	s.pos++
	switch {
	case c == '(':
		if s.depth == 0 {
			s.opens++
		}
		s.depth++
	case c == ')':
		s.depth--
	case c == '\'' || c == '"' || c == '`':
		s.inside = c
	case c == '#', c == '-' && lineComment(rest):
		s.inside = '-'
	case c == '/' && len(rest) > 1 && rest[1] == '*':
		s.pos++
		s.inside = '*'
		if conditional(rest) {
			s.inside = '!'
		}
	case c == '*' && s.inside == '!' && len(rest) > 1 && rest[1] == '/':
		s.pos++
		s.inside = 0
	}
}

// leave looks for the end of a quote or comment; false if the buffer ends before.
func (s *Statements) leave() bool {
	rest := s.buf[s.pos:]
	var at int
	switch s.inside {
	case '-':
		at = bytes.IndexByte(rest, '\n')
	case '*':
		if at = bytes.Index(rest, []byte("*/")); at < 0 {
			s.pos += max(0, len(rest)-1) // the star may be the last byte
			return false
		}
		at++
	case '`':
		at = bytes.IndexByte(rest, '`')
	default:
		return s.unquote(rest)
	}
	if at < 0 {
		s.pos = len(s.buf)
		return false
	}
	s.pos += at + 1
	s.inside = 0
	return true
}

// unquote passes a text in quotes; a backslash takes the next byte with it. A doubled quote is an end and a beginning, which comes to the same.
func (s *Statements) unquote(rest []byte) bool {
	quote := s.inside
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		if c == quote {
			s.pos += i + 1
			s.inside = 0
			return true
		}
		if c == '\\' {
			if i++; i == len(rest) {
				s.pos += i - 1
				return false
			}
		}
	}
	s.pos = len(s.buf)
	return false
}

// lineComment: two dashes are one only before a space or a control character.
func lineComment(b []byte) bool {
	return len(b) > 1 && b[1] == '-' && (len(b) == 2 || b[2] <= ' ')
}

// conditional are comments that servers read: /*! and MariaDB's /*M!.
func conditional(b []byte) bool {
	return len(b) > 2 && (b[2] == '!' || b[2] == 'M' && len(b) > 3 && b[3] == '!')
}
