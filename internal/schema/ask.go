package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Querier is a pool, a connection or a transaction.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Record is a row of an answer by lower-case column name; NULL is "".
type Record map[string]string

func (r Record) number(column string) int64 {
	n, _ := strconv.ParseInt(r[column], 10, 64) // NULL where the server has no estimate
	return n
}

// Ask reads a whole answer as text. The products spell the columns' case differently; here they are lower.
func Ask(ctx context.Context, q Querier, query string, args ...any) (out []Record, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot ask %q: %w", query, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	cells := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		r := make(Record, len(columns))
		for i, c := range columns {
			r[strings.ToLower(c)] = cells[i].String
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// Variables are the server's global variables, by their names in lower case.
func Variables(ctx context.Context, q Querier) (map[string]string, error) {
	rows, err := Ask(ctx, q, "SHOW GLOBAL VARIABLES")
	vars := map[string]string{}
	for _, r := range rows {
		vars[strings.ToLower(r["variable_name"])] = r["value"]
	}
	return vars, err
}

// On tells whether a variable is on.
func On(vars map[string]string, name string) bool {
	v := strings.ToUpper(vars[name])
	return v != "" && v != "OFF" && v != "0"
}
