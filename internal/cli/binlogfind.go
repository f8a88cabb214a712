package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/binlog"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/schema"
)

// findFlags are a question as it is typed.
type findFlags struct {
	table, since, until, gtids, logs string
	kinds                            []string
	thread                           uint32
	rows, limit                      int
	whose                            logFlags
}

func (a *app) binlogFind() *cobra.Command {
	f := &findFlags{}
	cmd := &cobra.Command{
		Use:   "find [INSTANCE]",
		Short: "What happened to this table, and when",
		Long: `Find looks through the archived binary logs for transactions: those that touch a table, those of some kind, of a time, of a connection, or that
touch many rows. It prints the restore command that stops just before the last one it found. The first question about a log reads all of it and
makes an index beside it; later ones read only what can hold an answer.

Kinds: insert, update, delete, drop, truncate, ddl (any definition, drop and truncate too), statement (logged as text). Of a statement
only the text tells which tables it is about: it is found if the text names the table.`,
		Example: `  holdstill binlog find --table sampledb.sampletable --kind drop,truncate
  holdstill binlog find shop --kind delete --rows 1000 --since "2026-11-22 12:00"
  holdstill binlog find --gtid 0-1-4711
  holdstill binlog find --binlogs /var/lib/mysql --table shop.orders`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runBinlogFind(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.table, "table", "", "DATABASE.TABLE, or DATABASE for any of its tables")
	flags.StringSliceVar(&f.kinds, "kind", nil, "kinds of change, with commas")
	flags.StringVar(&f.since, "since", "", "committed at this time or later")
	flags.StringVar(&f.until, "until", "", "committed at this time or earlier")
	flags.StringVar(&f.gtids, "gtid", "", "one of these GTIDs")
	flags.Uint32Var(&f.thread, "thread", 0, "made by this connection of the server")
	flags.IntVar(&f.rows, "rows", 0, "touching more rows than this")
	flags.IntVar(&f.limit, "limit", 100, "show this many, the latest")
	f.whose.register(flags)
	flags.StringVar(&f.logs, "binlogs", "", "look in this directory, or in the logs that this index file lists (default: the instance's archive)")
	return cmd
}

// question checks what was typed.
func (f *findFlags) question() (*binlog.Question, error) {
	q := &binlog.Question{Thread: f.thread, Rows: f.rows}
	if f.table != "" {
		name, err := schema.ParseName(f.table)
		if err != nil {
			return nil, usageError{err}
		}
		q.Database, q.Table = name.Database, name.Table
	}
	for _, text := range f.kinds {
		k := binlog.Kind(strings.ToLower(text))
		if !slices.Contains(binlog.Kinds, k) {
			return nil, usagef("--kind %s: there are insert, update, delete, drop, truncate, ddl and statement", text)
		}
		q.Kinds = append(q.Kinds, k)
	}
	if f.rows < 0 || f.limit < 1 {
		return nil, usagef("--rows and --limit are numbers of rows and answers, not %d and %d", f.rows, f.limit)
	}
	var err error
	if f.since != "" {
		if q.Since, err = parseTime(f.since); err != nil {
			return nil, err
		}
	}
	if f.until != "" {
		if q.Until, err = parseTime(f.until); err != nil {
			return nil, err
		}
	}
	if f.gtids != "" {
		if q.GTIDs, err = binlog.ParseGTIDs(!strings.Contains(f.gtids, ":"), f.gtids); err != nil {
			return nil, usageError{err}
		}
	}
	return q, nil
}

// found is a transaction that answers a question.
type found struct {
	File string `json:"file"`
	binlog.Detail
	Restore string `json:"restore"`                 // the command that stops just before it
	Table   string `json:"restore_table,omitempty"` // the one that brings the table or database of the question back into the running server
}

func (a *app) runBinlogFind(ctx context.Context, f *findFlags, args []string) error {
	q, err := f.question()
	if err != nil {
		return err
	}
	instance, logs, err := a.searched(ctx, f, args)
	if err != nil {
		return err
	}
	all := []found{}
	var unread error
	for _, l := range logs.All {
		if err := ctx.Err(); err != nil {
			return err
		}
		if cannotHold(l, q) {
			continue
		}
		if err := a.search(ctx, l, q, func(d binlog.Detail) {
			all = append(all, found{File: l.Name, Detail: d, Restore: restoreBefore(instance, "--datadir DIR --start", f.logs, l.Name, d), Table: f.tableBefore(instance, l.Name, d)})
			if len(all) > 2*f.limit {
				all = slices.Delete(all, 0, len(all)-f.limit)
			}
		}); err != nil {
			a.log.Error(fmt.Sprintf("cannot search the whole of %s: %v", l.Path, err))
			unread = errors.Join(unread, fmt.Errorf("%s: %w", l.Path, err))
		}
	}
	all = all[max(0, len(all)-f.limit):]
	if a.json {
		return errors.Join(a.printJSON(all), besideThe(unread))
	}
	if len(all) == 0 {
		return fmt.Errorf("no such transaction in %s, %d logs: %w", logs.From, len(logs.All), catalog.ErrNotFound)
	}
	a.printFound(all)
	a.printSearched(logs)
	return unread
}

// printSearched says how far what was searched goes: of what came later nothing is known here.
func (a *app) printSearched(logs pitr.Logs) {
	last := logs.All[len(logs.All)-1]
	text := fmt.Sprintf("searched %s, %d logs, to %s:%d", logs.From, len(logs.All), last.Name, last.Size)
	if !last.Last.IsZero() {
		text += ", " + last.Last.UTC().Format(time.RFC3339)
	}
	fmt.Fprintln(a.stdout, "\n"+text)
}

// searched are the logs that a question is about, and the instance whose they are.
func (a *app) searched(ctx context.Context, f *findFlags, args []string) (string, pitr.Logs, error) {
	if f.logs != "" {
		i, err := a.instance(ctx, args)
		if err != nil {
			return "", pitr.Logs{}, err
		}
		logs, err := a.logsOf(i, f.logs, "")
		return i.Name, logs, err
	}
	found, err := a.findLogs(ctx, args, f.whose)
	if err != nil {
		return "", pitr.Logs{}, err
	}
	if len(found.links) == 0 {
		return "", pitr.Logs{}, noLogs(found.instance)
	}
	return found.instance, a.ways(found.links, found.instance, found.host), nil
}

// cannotHold tells by the times of a log that would have to be fetched that nothing in it can be the answer. The margin is for a statement that began
// long before it was logged.
func cannotHold(l pitr.Log, q *binlog.Question) bool {
	const margin = 24 * time.Hour
	return l.Fetch != nil && (!q.Until.IsZero() && l.Begun.Add(-margin).After(q.Until) || !q.Since.IsZero() && l.Last.Add(margin).Before(q.Since))
}

// besideThe makes an error one that is told beside a document that was printed; nil stays nil.
func besideThe(err error) error {
	if err == nil {
		return nil
	}
	return besides{err}
}

// restoreBefore is the command that goes to the state just before a transaction.
func restoreBefore(instance, what, logs, file string, d binlog.Detail) string {
	until := fmt.Sprintf("--until-position %s:%d", file, d.Start)
	if d.GTID != "" {
		until = "--until-gtid " + d.GTID + " --before"
	}
	if logs != "" {
		until += " --binlogs " + logs
	}
	return "holdstill restore --instance " + instance + " " + what + " " + until
}

// tableBefore does so for the one table that was asked for, or for all of the database.
func (f *findFlags) tableBefore(instance, file string, d binlog.Detail) string {
	name, err := schema.ParseName(f.table)
	what := "--table "
	switch {
	case err != nil:
		return ""
	case name.Table == "":
		what = "--database "
	}
	return restoreBefore(instance, what+shellQuoted(name.String()), f.logs, file, d)
}

// search asks one log, by its index.
func (a *app) search(ctx context.Context, l pitr.Log, q *binlog.Question, fn func(binlog.Detail)) error {
	file, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	x, err := a.indexOf(l, file)
	if err != nil {
		return err
	}
	return x.Search(file, q, func(d binlog.Detail) error { fn(d); return nil })
}

// indexOf reads the index of a log, or makes it, and keeps it beside a log of the archive. One that does not fit any more is made anew.
func (a *app) indexOf(l pitr.Log, file io.ReaderAt) (*binlog.Index, error) {
	x := &binlog.Index{}
	if raw, err := os.ReadFile(l.Index); l.Index != "" && err == nil && json.Unmarshal(raw, x) == nil && x.Fits(l.Size) {
		return x, nil
	}
	a.log.Info("reading "+l.Path, "stage", "index")
	x, err := binlog.MakeIndex(io.NewSectionReader(file, 0, l.Size), l.Size)
	if err != nil || l.Index == "" {
		return x, err
	}
	raw, err := json.Marshal(x)
	if err != nil {
		return nil, err
	}
	if err := renameio.WriteFile(l.Index, raw, 0o600); err != nil {
		a.log.Warn("the index cannot be kept: " + err.Error())
	}
	return x, nil
}

func (a *app) printFound(all []found) {
	for _, one := range all {
		heading(a.stdout, one.Time.UTC().Format(time.RFC3339Nano))
		t := newTable(a.stdout)
		if one.GTID != "" {
			t.row("gtid", one.GTID)
		}
		t.row("position", fmt.Sprintf("%s:%d-%d", one.File, one.Start, one.End))
		who := fmt.Sprintf("server %d", one.ServerID)
		if one.Thread != 0 {
			who += fmt.Sprintf(", connection %d", one.Thread)
		}
		t.row("made by", who)
		for _, deed := range one.Deeds {
			t.row(string(deed.Kind), fmt.Sprintf("%s, %d rows", printable(deed.Table), deed.Rows))
		}
		for _, s := range one.Statements {
			t.row(string(s.Kind), printable(s.Text[:min(len(s.Text), 200)]))
		}
		t.flush()
	}
	last := all[len(all)-1]
	fmt.Fprintf(a.stdout, "\nto the moment just before the last one:\n  %s\n", last.Restore)
	if last.Table != "" {
		fmt.Fprintf(a.stdout, "only what you asked about, back into the running server (what is there is replaced, and kept aside):\n  %s\n", last.Table)
	}
}
