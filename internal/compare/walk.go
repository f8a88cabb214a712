package compare

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
)

// A piece is what is held in memory of each side: at most so many rows, and no more bytes than that and one row.
const (
	pieceRows  = 2000
	pieceBytes = 32 << 20
)

// walk goes through both tables.
type walk struct {
	table         *Table
	before, after Side
	each          func(*Table, Difference) error
	limit         int // rows of the next piece: it begins small, since rows may be large, and a read that is broken off is not free
}

func (w *walk) run(ctx context.Context) error {
	var last Row
	for {
		was, is, upper, err := w.next(ctx, last)
		if err != nil {
			return err
		}
		if err := w.differences(was, is); err != nil || upper == nil {
			return err
		}
		if last != nil && w.table.keyOf(last) == w.table.keyOf(upper) {
			return fmt.Errorf("cannot compare %s: the servers do not agree about the order of its key", w.after.Name)
		}
		last = upper
	}
}

// next reads the rows of both sides behind last and up to upper, at most a piece of each; upper is nil for the last of them.
func (w *walk) next(ctx context.Context, last Row) (was, is []Row, upper Row, err error) {
	limit := w.limit
	was, more, err := w.read(ctx, w.before, last, nil, limit)
	if err != nil {
		return nil, nil, nil, err
	}
	if more {
		upper = was[len(was)-1]
	}
	is, more, err = w.read(ctx, w.after, last, upper, limit)
	if err != nil {
		return nil, nil, nil, err
	}
	if more { // than before: cut there
		upper = is[len(is)-1]
		was, _, err = w.read(ctx, w.before, last, upper, limit) // some of those that were read: no limit cuts them
	}
	if w.limit == limit {
		w.limit = min(pieceRows, 4*limit)
	}
	return was, is, upper, err
}

// read reads a piece, and tells whether there may be more.
func (w *walk) read(ctx context.Context, s Side, last, upper Row, limit int) (out []Row, more bool, err error) {
	rows, err := s.Conn.QueryContext(ctx, w.table.query(s.Name, last, upper, limit))
	if err != nil {
		return nil, false, fmt.Errorf("cannot read %s: %w", s.Name, err)
	}
	defer func() { _ = rows.Close() }()
	bytes := 0
	for rows.Next() {
		row, size, err := w.row(rows)
		if err != nil {
			return nil, false, err
		}
		out, bytes = append(out, row), bytes+size
		if bytes >= pieceBytes {
			w.limit = max(1, len(out)/2) // the server sends the rest of this piece all the same
			return out, true, nil
		}
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("cannot read %s: %w", s.Name, err)
	}
	return out, len(out) == limit, nil
}

func (w *walk) row(rows *sql.Rows) (row Row, size int, err error) {
	raw, into := make([]sql.RawBytes, len(w.table.Columns)), make([]any, len(w.table.Columns))
	for i := range raw {
		into[i] = &raw[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, 0, err
	}
	row = make(Row, len(raw))
	for i, value := range raw {
		row[i], size = bytes.Clone(value), size+len(value)
	}
	return row, size, nil
}

func (t *Table) query(from schema.Name, last, upper Row, limit int) string {
	var order, where []string
	for _, i := range t.Key {
		order = append(order, schema.Quote(t.Columns[i].Name))
	}
	if last != nil {
		where = append(where, t.beyond(last))
	}
	if upper != nil {
		where = append(where, "NOT "+t.beyond(upper))
	}
	out := "SELECT " + strings.Join(t.selected(), ", ") + " FROM " + from.SQL()
	if len(where) > 0 {
		out += " WHERE " + strings.Join(where, " AND ")
	}
	return fmt.Sprintf("%s ORDER BY %s LIMIT %d", out, strings.Join(order, ", "), limit)
}

// selected are the columns as they are read: of a FLOAT the servers would write six digits only.
func (t *Table) selected() []string {
	out := t.names()
	for i, c := range t.Columns {
		if c.Data == "float" {
			out[i] += " + 0e0"
		}
	}
	return out
}

func (t *Table) names() []string {
	var out []string
	for _, c := range t.Columns {
		out = append(out, schema.Quote(c.Name))
	}
	return out
}

// beyond is the condition that a row's key lies behind another. It is written out, (a >= 1 AND (a > 1 OR a = 1 AND b > 2)), since the
// servers find no range in (a, b) > (1, 2).
func (t *Table) beyond(row Row) string {
	out := ""
	for depth, i := range slices.Backward(t.Key) {
		name, value := schema.Quote(t.Columns[i].Name), t.literal(i, row[i])
		if depth == len(t.Key)-1 {
			out = fmt.Sprintf("(%s > %s)", name, value)
		} else {
			out = fmt.Sprintf("(%[1]s >= %[2]s AND (%[1]s > %[2]s OR %[3]s))", name, value, out)
		}
	}
	return out
}

// differences matches the rows of one piece.
func (w *walk) differences(was, is []Row) error {
	now := map[string]Row{}
	for _, row := range is {
		now[w.table.keyOf(row)] = row
	}
	var missing []Row
	for _, row := range was {
		k := w.table.keyOf(row)
		other, there := now[k]
		delete(now, k)
		switch {
		case !there:
			missing = append(missing, row)
		case !same(row, other):
			if err := w.each(w.table, Difference{Changed, row, other}); err != nil {
				return err
			}
		}
	}
	for _, row := range missing {
		d := Difference{Kind: Missing, Before: row}
		if other, k := w.spelled(row, now); other != nil { // to the server it is one key
			delete(now, k)
			d.Kind, d.After = Changed, other
		}
		if err := w.each(w.table, d); err != nil {
			return err
		}
	}
	for _, row := range is {
		if _, there := now[w.table.keyOf(row)]; there {
			if err := w.each(w.table, Difference{Kind: Added, After: row}); err != nil {
				return err
			}
		}
	}
	return nil
}

// spelled finds a row whose key differs in the case of letters, or in blanks at the end, only.
func (w *walk) spelled(row Row, among map[string]Row) (Row, string) {
	for k, other := range among {
		if !slices.ContainsFunc(w.table.Key, func(i int) bool {
			return w.table.Columns[i].Charset == "" && !bytes.Equal(row[i], other[i]) ||
				!bytes.EqualFold(bytes.TrimRight(row[i], " "), bytes.TrimRight(other[i], " "))
		}) {
			return other, k
		}
	}
	return nil, ""
}

func (t *Table) keyOf(row Row) string {
	var b strings.Builder
	for _, i := range t.Key {
		fmt.Fprintf(&b, "%d:%s", len(row[i]), row[i])
	}
	return b.String()
}

func same(a, b Row) bool {
	return slices.EqualFunc(a, b, func(x, y []byte) bool { return (x == nil) == (y == nil) && bytes.Equal(x, y) })
}
