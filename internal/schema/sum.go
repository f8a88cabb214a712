package schema

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Sum is what a table's rows come to. It depends on their content only: not on their order, nor on the engine, the row format, the
// character set of the connection or the session's time zone, as CHECKSUM TABLE does. So it can be compared after a dump was loaded.
//
// Of each row the values are written one after the other: text in utf8mb4 with its length before it, blobs with their length, bits as a
// number, FLOAT with all its digits, geometries and vectors in hexadecimal, timestamps in seconds, NULL as N; generated columns are left out, since they follow from the
// others. The CRC-32 of that is added up over all rows: a sum sees a row that is there twice, as an exclusive or would not.
// It guards against accidents, not against somebody who wants to deceive.
type Sum struct {
	Rows int64  `json:"rows"`
	All  string `json:"checksum"` // of all columns
	// Rounded has FLOAT columns as the server prints them, with six digits: so they are in a dump. "" if there are none.
	Rounded string `json:"rounded_checksum,omitempty"`
	// Portable leaves out the columns that the other product spells otherwise, which Left names; "" if there are none such.
	Portable string   `json:"portable_checksum,omitempty"`
	Left     []string `json:"not_portable,omitempty"`
}

// Dumped is what must be equal after a dump of the server's own tool was loaded, which rounds FLOAT columns.
func (s Sum) Dumped() string { return cmp.Or(s.Rounded, s.All) }

// SumOf reads a whole table. Past tells whether the rows that a system-versioned table keeps of its past count too.
func SumOf(ctx context.Context, q Querier, n Name, past bool) (Sum, error) {
	columns, err := Columns(ctx, q, n)
	if err != nil {
		return Sum{}, err
	}
	if len(columns) == 0 {
		return Sum{}, fmt.Errorf("there is no table %s", n)
	}
	var out Sum
	for _, c := range columns {
		if !c.Generated && !portable(c) {
			out.Left = append(out.Left, c.Name)
		}
	}
	rows, err := Ask(ctx, q, sumQuery(columns, n, out.Left, past))
	if err != nil {
		return Sum{}, fmt.Errorf("cannot sum up %s: %w", n, err)
	}
	out.Rows, out.All = rows[0].number("n"), rows[0]["whole"]
	out.Rounded, out.Portable = rows[0]["rounded"], rows[0]["portable"]
	return out, nil
}

func sumQuery(columns []Column, n Name, left []string, past bool) string {
	from := n.SQL()
	if past {
		from += " FOR SYSTEM_TIME ALL"
	}
	// one pass and one evaluation for each row: a second aggregate over the same CRC, or a derived table, takes three times as long
	what := "COUNT(*) AS n, " + combined(columns, nil) + " AS whole"
	if slices.ContainsFunc(columns, func(c Column) bool { return !c.Generated && c.Rounds() }) {
		what += ", " + combined(printed(columns), nil) + " AS rounded"
	}
	if len(left) > 0 {
		what += ", " + combined(columns, left) + " AS portable"
	}
	return "SELECT " + what + " FROM " + from
}

func combined(columns []Column, left []string) string {
	return "COALESCE(SUM(" + crc(columns, left) + "), 0)"
}

func crc(columns []Column, left []string) string {
	parts := []string{"''"} // where every column is left out, or generated
	for _, c := range columns {
		if !c.Generated && !slices.Contains(left, c.Name) {
			parts = append(parts, written(Quote(c.Name), c))
		}
	}
	return "CRC32(CONCAT_WS('#', " + strings.Join(parts, ", ") + "))"
}

// printed gives FLOAT columns as they stand in a dump.
func printed(columns []Column) []Column {
	out := slices.Clone(columns)
	for i := range out {
		if out[i].Rounds() {
			out[i].Data = asPrinted
		}
	}
	return out
}

// asPrinted stands in place of a type.
const asPrinted = "float as printed"

// written is an expression for a value's bytes.
func written(column string, c Column) string {
	switch c.Data {
	case "bit":
		return "COALESCE(" + column + " + 0, 'N')"
	case "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection", "vector":
		return "COALESCE(HEX(" + column + "), 'N')"
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return "COALESCE(LENGTH(" + column + "), 'N'), " + column // CONCAT_WS passes over a NULL, and the N tells it
	case "uuid", "inet4", "inet6": // text to the other product
		return "COALESCE(LENGTH(CAST(" + column + " AS CHAR)), 'N'), CAST(CAST(" + column + " AS CHAR) AS BINARY)"
	case "float", "double": // the sum is a DOUBLE, which is printed with all digits, and never -0, which no dump brings back
		return "COALESCE(" + column + " + 0e0, 'N')"
	case asPrinted:
		return "COALESCE(IF(" + column + " = 0, '0', " + column + "), 'N')"
	case "timestamp":
		return "COALESCE(UNIX_TIMESTAMP(" + column + "), 'N')"
	case "json":
		return "COALESCE(CAST(CONVERT(" + column + " USING utf8mb4) AS BINARY), 'N')"
	}
	if c.Charset == "" { // numbers and times: no separator can be in them
		return "COALESCE(" + column + ", 'N')"
	}
	if !strings.HasPrefix(c.Charset, "utf8") {
		column = "CONVERT(" + column + " USING utf8mb4)"
	}
	if c.Data == "char" { // a mode of the session can pad it
		column = "TRIM(TRAILING ' ' FROM " + column + ")"
	}
	return "COALESCE(LENGTH(" + column + "), 'N'), CAST(" + column + " AS BINARY)"
}

// portable columns are written alike by both products. JSON is none: MySQL keeps its meaning, MariaDB its text.
func portable(c Column) bool {
	switch c.Data {
	case "json", "vector", "float", "double":
		return false
	case "longtext":
		return c.Collation != "utf8mb4_bin" // this is what MariaDB says for JSON
	}
	return true
}
