package restore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Row is a row of a SHOW statement, by the names of its columns.
type Row map[string]string

// First is the value of the first of the columns that there is: the products and versions name one thing differently.
func (r Row) First(columns ...string) string {
	for _, c := range columns {
		if v, ok := r[c]; ok {
			return v
		}
	}
	return ""
}

// Rows asks and reads everything as text; NULL is "".
func Rows(ctx context.Context, db *sql.DB, query string, args ...any) (out []Row, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := Row{}
		for i, c := range columns {
			row[c] = values[i].String
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

// Value asks for one value as text.
func Value(ctx context.Context, db *sql.DB, query string, args ...any) (string, error) {
	var v sql.NullString
	err := db.QueryRowContext(ctx, query, args...).Scan(&v)
	return strings.TrimSpace(v.String), err
}
