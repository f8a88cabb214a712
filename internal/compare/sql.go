package compare

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
)

// Head are the statements that must come before those of PutBack, and Foot those behind them: one transaction, or nothing.
var (
	Head = []string{
		"SET NAMES utf8mb4", "SET SESSION time_zone = '+00:00'",
		// backslashes escape; what was stored is taken as it is, or not at all
		"SET SESSION sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'",
		"START TRANSACTION",
	}
	Foot = []string{"COMMIT"}
)

// PutBack is the statement that makes a row what it was before.
func (t *Table) PutBack(d Difference) string {
	switch d.Kind {
	case Missing:
		return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", t.Name.SQL(), strings.Join(t.names(), ", "), strings.Join(t.literals(d.Before), ", "))
	case Added:
		return fmt.Sprintf("DELETE FROM %s WHERE %s", t.Name.SQL(), t.is(d.After))
	}
	var set []string
	for i, c := range t.Columns {
		if d.Differs(i) {
			set = append(set, schema.Quote(c.Name)+" = "+t.literal(i, d.Before[i]))
		}
	}
	return fmt.Sprintf("UPDATE %s SET %s WHERE %s", t.Name.SQL(), strings.Join(set, ", "), t.is(d.After))
}

// is the condition that a row has the key of another.
func (t *Table) is(row Row) string {
	var out []string
	for _, i := range t.Key {
		out = append(out, schema.Quote(t.Columns[i].Name)+" = "+t.literal(i, row[i]))
	}
	return strings.Join(out, " AND ")
}

func (t *Table) literals(row Row) []string {
	out := make([]string, len(row))
	for i, value := range row {
		out[i] = t.literal(i, value)
	}
	return out
}

// numbers are the types whose values stand for themselves; bytes those whose values are no text.
var (
	numbers  = []string{"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year"}
	binaries = []string{"bit", "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector",
		"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection"}
)

// Number tells a column whose values are numbers, Binary one whose values are no text.
func Number(c schema.Column) bool { return slices.Contains(numbers, c.Data) }

// Binary tells a column whose values are no text.
func Binary(c schema.Column) bool { return slices.Contains(binaries, c.Data) }

var escapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`, "\n", `\n`, "\r", `\r`, "\x1a", `\Z`)

// literal writes a value for a statement of a session as Head makes it.
func (t *Table) literal(column int, value []byte) string {
	switch c := t.Columns[column]; {
	case value == nil:
		return "NULL"
	case Number(c):
		return string(value)
	case Binary(c) && len(value) > 0:
		return "0x" + hex.EncodeToString(value)
	}
	return "'" + escapes.Replace(string(value)) + "'"
}
