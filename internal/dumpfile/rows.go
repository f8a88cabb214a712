package dumpfile

import (
	"bytes"
	"errors"
	"io"
	"regexp"
)

var insertHead = regexp.MustCompile("(?is)^(?:INSERT|REPLACE)\\s+(?:IGNORE\\s+)?INTO\\s+(`(?:[^`]|``)+`|[\\w$]+)\\s*(\\(?)")

// RowsOf counts the rows that an INSERT brings; 0 for any other statement.
func RowsOf(s Statement) int64 {
	head := insertHead.FindSubmatch(s.Text[:min(len(s.Text), 600)])
	if head == nil {
		return 0
	}
	rows := s.Opens
	if len(head[2]) > 0 {
		rows-- // the list of the columns
	}
	return int64(rows)
}

// Counted is what a text was seen to hold.
type Counted struct {
	Rows  int64
	Bytes int64
	// Complete tells that the dump tool wrote its last line.
	Complete bool
}

// Count copies a dump tool's text to w and counts on the way.
func Count(w io.Writer, text io.Reader) (Counted, error) {
	var c Counted
	tail := &Tail{}
	s := NewStatements(io.TeeReader(text, io.MultiWriter(w, tail)))
	for {
		statement, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return c, err
		}
		c.Rows += RowsOf(statement)
	}
	c.Bytes = tail.n
	c.Complete = tail.Complete()
	return c, nil
}

// Tail keeps the last bytes of what is written to it.
type Tail struct {
	n    int64
	last []byte
}

// Write never fails.
func (t *Tail) Write(b []byte) (int, error) {
	const keep = 256
	t.n += int64(len(b))
	t.last = append(t.last, b[max(0, len(b)-keep):]...)
	t.last = t.last[max(0, len(t.last)-keep):]
	return len(b), nil
}

// Complete tells whether the dump tool's last line is there.
func (t *Tail) Complete() bool { return bytes.Contains(t.last, []byte("-- Dump completed")) }
