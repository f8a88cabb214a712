package dumpfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// more reads on; what was handed out makes room.
func (s *Statements) more() error {
	if s.eof {
		return io.EOF
	}
	if s.start > 0 && len(s.buf) == cap(s.buf) {
		n := copy(s.buf, s.buf[s.start:])
		s.gone += int64(s.start)
		s.buf, s.pos, s.start = s.buf[:n], s.pos-s.start, 0
	}
	if len(s.buf) == cap(s.buf) {
		if cap(s.buf) > statementMax {
			return fmt.Errorf("line %d: a statement is longer than %d bytes", s.line, statementMax)
		}
		s.buf = append(make([]byte, 0, 2*cap(s.buf)), s.buf...)
	}
	n, err := s.in.Read(s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	if errors.Is(err, io.EOF) {
		s.eof = true
		return nil // whoever looks again finds what came with it, or asks again
	}
	return err
}

// skip passes over white space, comments and lone delimiters between statements.
func (s *Statements) skip() error {
	for {
		for s.start < len(s.buf) && (s.buf[s.start] <= ' ' || s.buf[s.start] == ';') {
			if s.buf[s.start] == '\n' {
				s.line++
			}
			s.start++
		}
		if len(s.buf)-s.start < len(sandbox) && !s.eof {
			if err := s.more(); err != nil {
				return err
			}
			continue
		}
		rest := s.buf[s.start:]
		if len(rest) == 0 {
			return io.EOF
		}
		var end string
		switch {
		case rest[0] == '#', lineComment(rest):
			end = "\n"
		case bytes.HasPrefix(rest, []byte("/*")) && !conditional(rest):
			end = "*/"
		case bytes.HasPrefix(rest, sandbox):
			end = "*/"
		default:
			return nil
		}
		if err := s.skipTo(end); err != nil {
			return err
		}
	}
}

// sandbox begins the line by which MariaDB's dumps tell their client to refuse its own commands. It means nothing to a server.
var sandbox = []byte(`/*M!999999\`)

func (s *Statements) skipTo(end string) error {
	for {
		rest := s.buf[s.start:]
		if at := bytes.Index(rest, []byte(end)); at >= 0 {
			s.line += bytes.Count(rest[:at+len(end)], []byte{'\n'})
			s.start += at + len(end)
			return nil
		}
		if s.eof {
			s.start = len(s.buf)
			return nil
		}
		if err := s.more(); err != nil {
			return err
		}
	}
}

// delimiter obeys the client's command, and reports whether there was one.
func (s *Statements) delimiter() (bool, error) {
	const word = "delimiter"
	for len(s.buf)-s.start <= len(word) && !s.eof {
		if err := s.more(); err != nil {
			return false, err
		}
	}
	rest := s.buf[s.start:]
	if len(rest) <= len(word) || !bytes.EqualFold(rest[:len(word)], []byte(word)) || rest[len(word)] != ' ' {
		return false, nil
	}
	for bytes.IndexByte(s.buf[s.start:], '\n') < 0 && !s.eof {
		if err := s.more(); err != nil {
			return false, err
		}
	}
	line, _, _ := bytes.Cut(s.buf[s.start:], []byte{'\n'})
	s.start += len(line)
	d := bytes.TrimSpace(line[len(word):])
	if len(d) == 0 {
		return false, fmt.Errorf("line %d: DELIMITER names none", s.line)
	}
	s.delim = bytes.Clone(d)
	return true, nil
}
