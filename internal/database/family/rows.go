package family

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// Row is one row of an answer by lower-case column name; what is NULL is absent.
type Row map[string]string

// Variables are the server's global variables.
type Variables = Row

// first returns the first of the columns that the row has: servers rename columns, and a fork may keep the old name.
func (r Row) first(names ...string) string {
	for _, n := range names {
		if v, ok := r[strings.ToLower(n)]; ok {
			return v
		}
	}
	return ""
}

func (r Row) number(names ...string) int64 {
	n, _ := strconv.ParseInt(r.first(names...), 10, 64)
	return n
}

// On reports whether a variable is switched on.
func (r Row) On(name string) bool { return IsOn(r.first(name)) }

// IsOn reads a switch as servers spell it.
func IsOn(value string) bool {
	return value == "1" || strings.EqualFold(value, "ON") || strings.EqualFold(value, "YES")
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// query reads the answer of one statement, or the answers of several sent together, one after the other.
func query(ctx context.Context, q querier, statement string, args ...any) ([]Row, error) {
	rows, err := q.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot run %q: %w", abridge(statement), err)
	}
	defer func() { _ = rows.Close() }()
	var out []Row
	for {
		if out, err = appendRows(out, rows); err != nil {
			return nil, fmt.Errorf("cannot read the answer to %q: %w", abridge(statement), err)
		}
		if !rows.NextResultSet() {
			break
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the answer to %q: %w", abridge(statement), err)
	}
	return out, nil
}

func appendRows(out []Row, rows *sql.Rows) ([]Row, error) {
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	cells := make([]sql.NullString, len(names))
	into := make([]any, len(names))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := make(Row, len(names))
		for i, name := range names {
			if cells[i].Valid {
				row[strings.ToLower(name)] = cells[i].String
			}
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

// pairs reads an answer of two columns, name and value.
func pairs(rows []Row) Row {
	out := make(Row, len(rows))
	for _, r := range rows {
		out[strings.ToLower(r.first("variable_name"))] = r.first("value", "variable_value")
	}
	return out
}

// merge lays rows over each other: the answers to a position query have different columns.
func merge(rows []Row) Row {
	out := Row{}
	for _, r := range rows {
		for k, v := range r {
			out[k] = v
		}
	}
	return out
}

// Quote makes a string literal.
func Quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`).Replace(s) + "'"
}

func abridge(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	const limit = 100
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
