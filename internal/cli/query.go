package cli

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/restore"
)

func (a *app) query() *cobra.Command {
	f := &scratchFlags{}
	var schema, format string
	cmd := &cobra.Command{
		Use:   "query POINT SQL...",
		Short: "Ask a restore point a question, before restoring anything",
		Long: `Query starts a scratch server on a writable copy of the point, which a btrfs or an image gives in an instant for any size, runs the
statements in a read-only transaction, prints what they return, and takes the server away again. Of a point that is only in the repository the
files that the server opens are fetched, and no others. With the until flags it is the state at a moment after the point.

Each SQL is one statement. The live server is not touched. CSV is printed while the rows come; the other forms hold an answer in memory first.`,
		Example: `  holdstill query latest "SELECT COUNT(*) FROM shop.orders"
  holdstill query latest~1 "SELECT * FROM shop.orders WHERE id = 4711" --format csv
  holdstill query latest "SHOW CREATE TABLE orders" --database shop
  holdstill query latest "SELECT * FROM shop.orders WHERE id = 4711" --until-gtid 0-1-4711 --before --json`,
		Args: usage(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := a.answersIn(format)
			if err != nil {
				return err
			}
			return a.withScratch(cmd.Context(), f, args[0], func(ctx context.Context, s *restore.Scratch) error {
				return ask(ctx, s, schema, args[1:], to)
			})
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&schema, "database", "", "the default database of the statements")
	cmd.Flags().StringVar(&format, "format", "table", "table, csv or json (as --json)")
	return cmd
}

// ask runs statements in one read-only transaction.
func ask(ctx context.Context, s *restore.Scratch, schema string, statements []string, to answers) error {
	conn, err := s.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if schema != "" {
		if _, err := conn.ExecContext(ctx, "USE `"+strings.ReplaceAll(schema, "`", "``")+"`"); err != nil {
			return fmt.Errorf("cannot use the database %s of the point: %w", schema, err)
		}
	}
	if _, err := conn.ExecContext(ctx, "START TRANSACTION READ ONLY"); err != nil {
		return err
	}
	for _, statement := range statements {
		if err := askOne(ctx, conn, statement, to); err != nil {
			return fmt.Errorf("the scratch server of point %s answers to %q: %w", s.Point.ID, statement, err)
		}
	}
	return to.end()
}

func askOne(ctx context.Context, conn *sql.Conn, statement string, to answers) error {
	rows, err := conn.QueryContext(ctx, statement)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.ColumnTypes()
	if err == nil {
		err = to.begin(statement, columnNames(columns))
	}
	if err != nil {
		return err
	}
	for rows.Next() {
		cells, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row := make([]any, len(cells))
		for i, c := range cells {
			row[i] = cell(c, numeric(columns[i].DatabaseTypeName()), false)
		}
		if err := to.row(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

func columnNames(columns []*sql.ColumnType) []string {
	out := []string{}
	for _, c := range columns {
		out = append(out, c.Name())
	}
	return out
}

// cell is a value as it is printed: nil, a number as the server wrote it, text, and what is no text as 0x and hexadecimal digits.
func cell(raw []byte, number, binary bool) any {
	switch {
	case raw == nil:
		return nil
	case number && json.Valid(raw): // 0000 is a year, and no number
		return json.Number(raw)
	case binary || !utf8.Valid(raw):
		return "0x" + strings.ToUpper(hex.EncodeToString(raw))
	}
	return string(raw)
}

func numeric(kind string) bool {
	switch strings.TrimPrefix(kind, "UNSIGNED ") {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "YEAR":
		return true
	}
	return false
}
