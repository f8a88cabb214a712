package lab

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Checksum gives the number of a table's rows and a sum over them that does not depend on their order, the product, its version, or
// the connection's character set. CHECKSUM TABLE is not that: it depends on the row format.
func Checksum(ctx context.Context, db *sql.DB, table string) (rows int64, sum string, err error) {
	schema, name, err := splitTable(table)
	if err != nil {
		return 0, "", err
	}
	columns, err := columnTexts(ctx, db, schema, name)
	if err != nil {
		return 0, "", fmt.Errorf("cannot checksum %s: %w", table, err)
	}
	// XOR alone misses a row that is there twice, a sum alone is easier to hit by chance
	query := fmt.Sprintf("SELECT COUNT(*), CONCAT(COALESCE(BIT_XOR(crc), 0), '-', COALESCE(SUM(crc), 0)) FROM (SELECT CRC32(CONCAT_WS('#', %s)) AS crc FROM %s.%s) AS sums",
		strings.Join(columns, ", "), ident(schema), ident(name))
	if err := db.QueryRowContext(ctx, query).Scan(&rows, &sum); err != nil {
		return 0, "", fmt.Errorf("cannot checksum %s: %w", table, err)
	}
	return rows, sum, nil
}

// columnTexts gives an expression for each column that reads the same everywhere.
func columnTexts(ctx context.Context, db *sql.DB, schema, table string) ([]string, error) {
	found, err := db.QueryContext(ctx,
		"SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position", schema, table)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var texts []string
	for found.Next() {
		var name, kind string
		if err := found.Scan(&name, &kind); err != nil {
			return nil, err
		}
		texts = append(texts, columnText(ident(name), strings.ToLower(kind)))
	}
	if len(texts) == 0 && found.Err() == nil {
		return nil, fmt.Errorf("there is no such table")
	}
	return texts, found.Err()
}

func columnText(column, kind string) string {
	switch kind {
	case "timestamp":
		column = "UNIX_TIMESTAMP(" + column + ")" // whatever the session's time zone
	case "binary", "varbinary", "blob", "tinyblob", "mediumblob", "longblob", "bit", "geometry":
		return "COALESCE(HEX(" + column + "), '-')"
	}
	// HEX after CONVERT: bytes of one character set; and no value can look like a separator or like NULL
	return "COALESCE(HEX(CONVERT(" + column + " USING utf8mb4)), '-')"
}

func ident(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

func splitTable(name string) (schema, table string, err error) {
	schema, table, ok := strings.Cut(name, ".")
	if !ok {
		return "", "", fmt.Errorf("the table %q lacks its schema: schema.table", name)
	}
	return schema, table, nil
}
