package cli

import (
	"encoding/csv"
	"fmt"

	"github.com/dustin/go-humanize"
)

// answers is where the answers of query go, statement by statement and row by row. A cell is nil for NULL.
type answers interface {
	begin(statement string, columns []string) error
	row(cells []any) error
	end() error // of all
}

// answersIn chooses the form of the answers.
func (a *app) answersIn(format string) (answers, error) {
	switch {
	case a.json || format == "json":
		return &kept{print: a.answersJSON}, nil
	case format == "table":
		return &kept{print: a.answersTable}, nil
	case format == "csv":
		return &asCSV{csv.NewWriter(a.stdout)}, nil
	}
	return nil, usagef("--format must be table, csv or json, not %q", format)
}

// asCSV writes one answer after the other, NULL as \N.
type asCSV struct{ w *csv.Writer }

func (c *asCSV) begin(_ string, columns []string) error { return c.w.Write(columns) }
func (c *asCSV) row(cells []any) error {
	return c.w.Write(texts(cells, `\N`, func(s string) string { return s }))
}

func (c *asCSV) end() error {
	c.w.Flush()
	return c.w.Error()
}

// answer is what one statement returned.
type answer struct {
	statement string
	columns   []string
	rows      [][]any
}

// maxKept is how many bytes of answers are held in memory, as text.
const maxKept = 256 << 20

// kept prints all answers together: a table has to know its widest cell, and JSON is whole or not there.
type kept struct {
	all   []answer
	bytes int
	print func([]answer) error
}

func (k *kept) begin(statement string, columns []string) error {
	k.all = append(k.all, answer{statement: statement, columns: columns})
	return nil
}

func (k *kept) row(cells []any) error {
	for _, c := range cells {
		k.bytes += len(fmt.Sprint(c))
	}
	if k.bytes > maxKept {
		return withHint{fmt.Errorf("the answer is larger than %s", humanize.IBytes(maxKept)), "--format csv prints rows as they come; or ask for fewer"}
	}
	last := &k.all[len(k.all)-1]
	last.rows = append(last.rows, cells)
	return nil
}

func (k *kept) end() error { return k.print(k.all) }

func (a *app) answersTable(all []answer) error {
	for i, one := range all {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		if len(one.columns) == 0 {
			continue
		}
		t := newTable(a.stdout)
		names := make([]string, len(one.columns))
		for i, name := range one.columns {
			names[i] = printable(name)
		}
		t.row(names...)
		for _, row := range one.rows {
			t.row(texts(row, "NULL", printable)...)
		}
		t.flush()
		fmt.Fprintf(a.stdout, "%s\n", counted(len(one.rows), "row"))
	}
	return nil
}

// answerJSON is an answer as the JSON tells it: the rows by column. Of two columns of one name the last wins; columns lists them all.
type answerJSON struct {
	Statement string           `json:"statement"`
	Columns   []string         `json:"columns"`
	Rows      []map[string]any `json:"rows"`
}

func (a *app) answersJSON(all []answer) error {
	out := []answerJSON{}
	for _, one := range all {
		j := answerJSON{Statement: one.statement, Columns: one.columns, Rows: []map[string]any{}}
		for _, row := range one.rows {
			m := map[string]any{}
			for i, value := range row {
				m[j.Columns[i]] = value
			}
			j.Rows = append(j.Rows, m)
		}
		out = append(out, j)
	}
	return a.printJSON(out)
}

func texts(row []any, null string, clean func(string) string) []string {
	out := make([]string, len(row))
	for i, value := range row {
		out[i] = null
		if value != nil {
			out[i] = clean(fmt.Sprint(value))
		}
	}
	return out
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
