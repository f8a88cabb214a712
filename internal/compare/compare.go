// Package compare tells how the rows of one table differ between two servers, by the key: which are missing, added and changed; and writes
// the statements that put back only those.
//
// Both tables are read once, in pieces of the key's order, each in a transaction that sees one moment. Which order that is
// (a collation's) only the servers know, so pieces are cut by asking them, and rows are matched by the bytes of their keys.
package compare

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
)

// Kind is how a row differs.
type Kind string

// The kinds, as seen from the table before.
const (
	Missing Kind = "missing" // it was there
	Added   Kind = "added"   // it was not there
	Changed Kind = "changed"
)

// Row has one value a column of the table, as the server writes it; nil is NULL.
type Row [][]byte

// Difference is one row that differs. Before is nil for an added row, After for a missing one.
type Difference struct {
	Kind   Kind
	Before Row
	After  Row
}

// Table is what is compared: the columns that both have, but for generated ones.
type Table struct {
	Name    schema.Name // after
	Columns []schema.Column
	Key     []int // which of them are the key, in its order
	// OnlyBefore and OnlyAfter are columns that only one of the tables has; they are not compared.
	OnlyBefore, OnlyAfter []string
}

// Side is one of the two tables. The connection stays the caller's.
type Side struct {
	Conn *sql.Conn
	Name schema.Name
}

// What can be wrong with a table: its rows cannot be told from one another, or it is not there before or after (or the account may not see it).
var (
	ErrNoKey   = errors.New("it has no primary key, and no unique one without NULLs")
	ErrNoTable = errors.New("there was no table")
	ErrGone    = errors.New("there is no table")
)

// prelude makes both servers say the same of the same value, and see one moment.
var prelude = []string{
	"SET NAMES utf8mb4", "SET SESSION time_zone = '+00:00'",
	"SET SESSION sql_mode = ''", // backslashes escape in our literals, and CHAR is not padded
	"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
	"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
}

// Tables compares two tables and calls each with every difference, in the order of the key, the added ones of a piece behind the others.
func Tables(ctx context.Context, before, after Side, each func(*Table, Difference) error) (*Table, error) {
	for _, side := range []Side{before, after} {
		for _, statement := range prelude {
			if _, err := side.Conn.ExecContext(ctx, statement); err != nil {
				return nil, fmt.Errorf("cannot read %s at one moment: %s: %w", side.Name, statement, err)
			}
		}
	}
	table, err := match(ctx, before, after)
	if err != nil {
		return nil, err
	}
	w := &walk{table: table, before: before, after: after, each: each, limit: 20}
	return table, w.run(ctx)
}

// match finds the columns that both tables have, and the key.
func match(ctx context.Context, before, after Side) (*Table, error) {
	was, err := columns(ctx, before, ErrNoTable)
	if err != nil {
		return nil, err
	}
	is, err := columns(ctx, after, ErrGone)
	if err != nil {
		return nil, err
	}
	t := &Table{Name: after.Name}
	var old []schema.Column
	for _, c := range was {
		switch i := slices.IndexFunc(is, named(c.Name)); {
		case i < 0:
			t.OnlyBefore = append(t.OnlyBefore, c.Name)
		case !c.Generated && !is[i].Generated:
			t.Columns, old = append(t.Columns, is[i]), append(old, c)
		}
	}
	for _, c := range is {
		if !slices.ContainsFunc(was, named(c.Name)) {
			t.OnlyAfter = append(t.OnlyAfter, c.Name)
		}
	}
	indexes, err := schema.Indexes(ctx, before.Conn, before.Name)
	if err != nil {
		return nil, err
	}
	if t.Key, err = key(indexes, t.Columns, old); err != nil {
		return nil, fmt.Errorf("cannot compare %s row by row: %w", before.Name, err)
	}
	return t, nil
}

func columns(ctx context.Context, s Side, none error) ([]schema.Column, error) {
	out, err := schema.Columns(ctx, s.Conn, s.Name)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%w %s", none, s.Name)
	}
	return out, err
}

func named(name string) func(schema.Column) bool {
	return func(c schema.Column) bool { return strings.EqualFold(c.Name, name) }
}

// key chooses the primary key, else the first unique one whose columns are never NULL.
func key(indexes []schema.Index, columns, old []schema.Column) ([]int, error) {
	slices.SortStableFunc(indexes, func(a, b schema.Index) int { return primaryFirst(a) - primaryFirst(b) })
	why := ErrNoKey
	for _, index := range indexes {
		if !index.Unique {
			continue
		}
		if at, err := places(index, columns, old); err != nil {
			why = fmt.Errorf("%w (%w)", ErrNoKey, err)
		} else {
			return at, nil
		}
	}
	return nil, why
}

func primaryFirst(i schema.Index) int {
	if i.Name == "PRIMARY" {
		return 0
	}
	return 1
}

// places finds the columns of a key. They must have one order, in both tables, which is that of their values as they are written.
func places(index schema.Index, columns, old []schema.Column) ([]int, error) {
	var out []int
	for _, name := range index.Columns {
		i := slices.IndexFunc(columns, named(name))
		switch {
		case i < 0:
			return nil, fmt.Errorf("the key %s is over a column that is computed, or that one of the tables does not have", index.Name)
		case columns[i].Null:
			return nil, fmt.Errorf("the key %s allows NULL", index.Name)
		case columns[i].Data == "float" || columns[i].Data == "double":
			return nil, fmt.Errorf("the key %s is over a floating point number, which does not equal what is written of it", index.Name)
		case columns[i].Data == "enum" || columns[i].Data == "set":
			return nil, fmt.Errorf("the key %s is over an %s, which has another order than its texts", index.Name, strings.ToUpper(columns[i].Data))
		case columns[i].Collation != old[i].Collation || Number(columns[i]) != Number(old[i]) || Binary(columns[i]) != Binary(old[i]):
			return nil, fmt.Errorf("the key %s has another order now: its column %s was %s %s, and is %s %s", index.Name, name,
				old[i].Type, old[i].Collation, columns[i].Type, columns[i].Collation)
		}
		out = append(out, i)
	}
	return out, nil
}

// Differs tells whether a changed row has another value in the column.
func (d Difference) Differs(column int) bool {
	return !same(d.Before[column:column+1], d.After[column:column+1])
}
