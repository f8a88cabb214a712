package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/compare"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/wire"
)

// diffFlags are those of diff.
type diffFlags struct {
	scratchFlags
	against string
	with    string
	limit   int
	sql     string
	putBack []string
}

func (a *app) diff() *cobra.Command {
	f := &diffFlags{}
	cmd := &cobra.Command{
		Use:   "diff POINT DB.TABLE",
		Short: "Show which rows of a table are missing, added or changed since a point, and write the SQL that puts back only those",
		Long: `Diff compares a table of a point with the same table of the running server, row by row, by the primary key (or a unique key without NULLs).
The point's is read on a scratch server, the running server's in one transaction that sees one moment and locks nothing. With the until flags it is
the table at a moment after the point.

--sql FILE writes one transaction that puts back what --put-back names: the rows that are missing now and those that were changed, unless you say
otherwise. Read it, and then give it to the server's client. Rows that were added since are left alone unless added is among them.`,
		Example: `  holdstill diff latest shop.orders
  holdstill diff latest shop.orders --until-gtid 0-1-4711 --before --sql lost-orders.sql --put-back missing
  holdstill diff latest shop.orders --with shop.orders_new --json`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runDiff(cmd.Context(), f, args[0], args[1]) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.against, "against", "", "the instance to compare with (default: the point's own)")
	flags.StringVar(&f.with, "with", "", "the table there, if it has another name")
	flags.IntVar(&f.limit, "limit", 20, "how many rows to show; 0: all")
	flags.StringVar(&f.sql, "sql", "", "write the statements that put the rows back to this file")
	flags.StringSliceVar(&f.putBack, "put-back", []string{"missing", "changed"}, "which rows --sql puts back: missing, changed, added (which are deleted)")
	return cmd
}

func (f *diffFlags) check() error {
	for _, kind := range f.putBack {
		if !slices.Contains([]string{"missing", "changed", "added"}, kind) {
			return usagef("--put-back takes missing, changed and added, not %q", kind)
		}
	}
	if f.limit < 0 {
		return usagef("--limit %d: it is 0 or more", f.limit)
	}
	return nil
}

// diffed is what diff tells.
type diffed struct {
	Point      string    `json:"point"`
	Table      string    `json:"table"`
	With       string    `json:"with"`
	Key        []string  `json:"key"`
	Missing    int       `json:"missing"`
	Added      int       `json:"added"`
	Changed    int       `json:"changed"`
	Rows       []diffRow `json:"rows"` // the first of them: --limit
	OnlyBefore []string  `json:"columns_only_before,omitempty"`
	OnlyAfter  []string  `json:"columns_only_after,omitempty"`
	SQL        string    `json:"sql,omitempty"`
	Statements int       `json:"statements,omitempty"` // in the file
}

// diffRow is one row, by column. Of a changed one only the columns that changed are told, and the key.
type diffRow struct {
	Kind   compare.Kind   `json:"kind"`
	Before map[string]any `json:"before,omitempty"`
	After  map[string]any `json:"after,omitempty"`

	key, text string
}

func (a *app) runDiff(ctx context.Context, f *diffFlags, point, table string) error {
	name, err := schema.ParseTable(table)
	if err != nil {
		return usageError{err}
	}
	with := name
	if f.with != "" {
		if with, err = schema.ParseTable(f.with); err != nil {
			return usageError{err}
		}
	}
	if err := f.check(); err != nil {
		return err
	}
	s := &stock{app: a}
	defer s.close()
	p, err := a.find(ctx, s, point, f.instance)
	if err != nil {
		return err
	}
	f.only = []schema.Name{name}
	if f.against == "" {
		f.against = p.Instance
	}
	live, err := a.liveEndpoint(ctx, f.against)
	if err != nil {
		return err
	}
	out := &diffed{Point: p.ID, Table: name.String(), With: f.against + ": " + with.String(), Rows: []diffRow{}, SQL: f.sql}
	err = a.scratchOf(ctx, s, &f.scratchFlags, p, func(ctx context.Context, server *restore.Scratch) error {
		return a.compareWith(ctx, f, out, server, name, live, with)
	})
	switch {
	case errors.Is(err, compare.ErrNoTable):
		return withHint{fmt.Errorf("%w: %w", err, catalog.ErrNotFound), "holdstill points show " + p.ID + " --tables lists those of the point"}
	case errors.Is(err, compare.ErrGone):
		return withHint{fmt.Errorf("%w in %s now: %w", err, f.against, catalog.ErrNotFound),
			"if it was renamed: --with DB.TABLE; if it is lost: holdstill restore " + p.ID + " --table " + shellQuoted(name.String()) + " --into " + f.against}
	case errors.Is(err, compare.ErrNoKey):
		return withHint{err, "holdstill query shows the rows as they were"}
	case err != nil:
		return err
	}
	if a.json {
		return a.printJSON(out)
	}
	a.printDiff(f, out)
	return nil
}

// liveEndpoint is how one logs in to a running instance.
func (a *app) liveEndpoint(ctx context.Context, name string) (database.Endpoint, error) {
	i, err := a.instance(ctx, []string{name})
	if err != nil {
		return database.Endpoint{}, err
	}
	return wire.Endpoint(i)
}

func (a *app) compareWith(ctx context.Context, f *diffFlags, out *diffed, server *restore.Scratch, name schema.Name, live database.Endpoint, with schema.Name) error {
	before, err := server.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = before.Close() }()
	pool, err := wire.Pool(ctx, live)
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	after, err := pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("cannot reach the server to compare with: %w", err)
	}
	defer func() { _ = after.Close() }()
	file, err := newPutBack(f, out)
	if err != nil {
		return err
	}
	defer file.drop()
	table, err := compare.Tables(ctx, compare.Side{Conn: before, Name: name}, compare.Side{Conn: after, Name: with}, func(t *compare.Table, d compare.Difference) error {
		out.count(t, d, f.limit)
		return file.add(t, d)
	})
	if err != nil {
		return err
	}
	for _, i := range table.Key {
		out.Key = append(out.Key, table.Columns[i].Name)
	}
	out.OnlyBefore, out.OnlyAfter = table.OnlyBefore, table.OnlyAfter
	return file.finish()
}

func (out *diffed) count(t *compare.Table, d compare.Difference, limit int) {
	switch d.Kind {
	case compare.Missing:
		out.Missing++
	case compare.Added:
		out.Added++
	case compare.Changed:
		out.Changed++
	}
	if limit > 0 && len(out.Rows) >= limit {
		return
	}
	row, key := d.Before, []string{}
	if row == nil {
		row = d.After
	}
	for _, i := range t.Key {
		key = append(key, fmt.Sprint(diffCell(t.Columns[i], row[i])))
	}
	out.Rows = append(out.Rows, diffRow{Kind: d.Kind, Before: worthTelling(t, d, d.Before), After: worthTelling(t, d, d.After),
		key: strings.Join(key, ", "), text: diffText(t, d)})
}

// worthTelling are the columns of a row that are worth telling.
func worthTelling(t *compare.Table, d compare.Difference, row compare.Row) map[string]any {
	if row == nil {
		return nil
	}
	out := map[string]any{}
	for i, c := range t.Columns {
		if d.Kind != compare.Changed || slices.Contains(t.Key, i) || d.Differs(i) {
			out[c.Name] = diffCell(c, row[i])
		}
	}
	return out
}

func diffCell(c schema.Column, raw []byte) any {
	return cell(raw, compare.Number(c), compare.Binary(c))
}

// diffText is a row on one line.
func diffText(t *compare.Table, d compare.Difference) string {
	var out []string
	for i, c := range t.Columns {
		switch {
		case d.Kind == compare.Changed && d.Differs(i):
			out = append(out, c.Name+": "+short(diffCell(c, d.Before[i]))+" -> "+short(diffCell(c, d.After[i])))
		case d.Kind == compare.Missing && !slices.Contains(t.Key, i):
			out = append(out, c.Name+": "+short(diffCell(c, d.Before[i])))
		case d.Kind == compare.Added && !slices.Contains(t.Key, i):
			out = append(out, c.Name+": "+short(diffCell(c, d.After[i])))
		}
	}
	return strings.Join(out, ", ")
}

func short(value any) string {
	if value == nil {
		return "NULL"
	}
	const most = 40
	if runes := []rune(fmt.Sprint(value)); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return fmt.Sprint(value)
}

func (a *app) printDiff(f *diffFlags, out *diffed) {
	w := a.stdout
	heading(w, fmt.Sprintf("%s of point %s, and now", printable(out.Table), out.Point))
	fmt.Fprintf(w, "  %s missing, %s added, %s changed\n", counted(out.Missing, "row"), counted(out.Added, "row"), counted(out.Changed, "row"))
	if len(out.Rows) > 0 {
		t := newTable(w)
		t.row("", strings.ToUpper(printable(strings.Join(out.Key, ", "))), "COLUMNS")
		for _, row := range out.Rows {
			t.row(string(row.Kind), printable(row.key), printable(row.text))
		}
		t.flush()
	}
	if all := out.Missing + out.Added + out.Changed; all > len(out.Rows) {
		fmt.Fprintf(w, "  and %s more (--limit 0 shows all)\n", counted(all-len(out.Rows), "row"))
	}
	for _, only := range []struct {
		names []string
		where string
	}{{out.OnlyBefore, "the point's table"}, {out.OnlyAfter, "the table now"}} {
		if len(only.names) > 0 {
			printWarnings(w, []string{"not compared, since only " + only.where + " has them: " + strings.Join(only.names, ", ")})
		}
	}
	if f.sql != "" {
		fmt.Fprintf(w, "  %s to put rows back (%s): %s\n", counted(out.Statements, "statement"), strings.Join(f.putBack, ", "), f.sql)
	}
}
