package tables

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// one brings one table into the staging, and checks it.
func (j *job) one(ctx context.Context, s *scratch, it *Item) (int64, error) {
	var bytes int64
	var err error
	switch it.Way {
	case Made:
		err = j.make(ctx, it)
	case Files:
		bytes, err = j.files(ctx, s, it)
	}
	if err == nil && it.Way != Made {
		err = j.verify(ctx, it)
	}
	if err == nil {
		err = fault.At("tables.checked")
	}
	return bytes, err
}

// files takes over a table's files. Where the live server refuses them, the scratch server writes the table anew, without what it had
// gathered over time (columns that were dropped in an instant, for example), and that is tried; and if it is refused too, it is loaded.
func (j *job) files(ctx context.Context, s *scratch, it *Item) (int64, error) {
	create, err := s.strip(ctx, it)
	if err != nil {
		return 0, err
	}
	bytes, err := j.takeOver(ctx, s, it, create)
	var no *importError
	if errors.As(err, &no) {
		j.deps.Log.Warn(fmt.Sprintf("The server refuses the files of %s; they are written anew and tried again: %v", it.Table.FullName(), no.error), "stage", "tables")
		if create, err = s.rewrite(ctx, it); err == nil {
			err = j.discard(ctx, it, no)
		}
		if err != nil {
			return 0, err
		}
		bytes, err = j.takeOver(ctx, s, it, create)
	}
	if errors.As(err, &no) && j.deps.Load != nil && it.Reason == "" {
		bytes, it.Way, it.Reason = 0, Load, "the live server refuses its files: "+no.Error()
		if err = j.discard(ctx, it, no); err == nil {
			from := schema.Name{Database: s.exports, Table: it.Staged}
			var told []string
			told, err = j.deps.Load(ctx, j.staging.Schema, []Loaded{{From: from, Staged: it.Staged, Unnamed: it.Unnamed, Sequences: j.plan.sequences()}})
			for _, text := range told {
				j.result.Warnings = append(j.result.Warnings, strings.ReplaceAll(text, from.String(), it.Table.FullName().String()))
			}
		}
	}
	if err != nil {
		return bytes, err
	}
	for _, f := range it.indexes() { // MySQL makes only one at a time
		if err := j.exec(ctx, "ALTER TABLE "+j.staged(it.Staged)+" ADD "+f); err != nil {
			return bytes, fmt.Errorf("cannot make the full-text index: %w", err)
		}
	}
	return bytes, nil
}

// discard removes a table of the staging that could not take files over, and these.
func (j *job) discard(ctx context.Context, it *Item, no *importError) error {
	return errors.Join(j.exec(ctx, "DROP TABLE "+j.staged(it.Staged)), j.remove(no.placed, ".ibd", ".cfg", ".cfp"))
}

// importError is a server's refusal to import files, which are still there.
type importError struct {
	error
	placed []string
}

func (e *importError) Unwrap() error { return e.error }

// takeOver makes the table in the staging and gives it the files of the scratch server's.
func (j *job) takeOver(ctx context.Context, s *scratch, it *Item, create string) (bytes int64, err error) {
	if err := j.createAs(ctx, swap.Unname(swap.Redirected(create, j.plan.sequences()), it.Unnamed)); err != nil {
		return 0, err
	}
	switch {
	case !innodb(it.Detail):
		bytes, err = j.replaced(ctx, s, it)
	case len(it.Table.Partitions) > 0 && j.plan.Product == database.MariaDB:
		bytes, err = j.byPartition(ctx, s, it)
	default:
		bytes, err = j.imported(ctx, s, it, it.Staged, "")
	}
	return bytes, err
}

// createAs makes a table in the staging by the statement that SHOW CREATE TABLE gave.
func (j *job) createAs(ctx context.Context, create string) error {
	if err := j.exec(ctx, "USE "+schema.Quote(j.staging.Schema)); err != nil {
		return err
	}
	return j.exec(ctx, create)
}

func (j *job) exec(ctx context.Context, statement string) error {
	return j.staging.Exec(ctx, statement)
}

func (j *job) staged(table string) string {
	return schema.Name{Database: j.staging.Schema, Table: table}.SQL()
}

// imported gives an InnoDB table of the staging the files of a table, or of one partition, of the scratch server.
func (j *job) imported(ctx context.Context, s *scratch, it *Item, table, partition string) (int64, error) {
	if err := j.exec(ctx, "ALTER TABLE "+j.staged(table)+" DISCARD TABLESPACE"); err != nil {
		return 0, err
	}
	var bytes int64
	var placed []string
	err := s.flushed(ctx, it, func() (err error) {
		var files []string
		for _, f := range s.files(it.Staged, partition) {
			if slices.Contains([]string{".ibd", ".cfg", ".cfp"}, filepath.Ext(f)) {
				files = append(files, f)
			}
		}
		if len(files) == 0 {
			return fmt.Errorf("the scratch server has no files of it in %s", s.dir)
		}
		placed, bytes, err = j.place(ctx, s, files, it.Staged+partition, table)
		return err
	})
	if err == nil {
		err = fault.At("tables.copied")
	}
	if err == nil {
		placed, err = j.unveil(placed)
	}
	if err != nil {
		return 0, err
	}
	if err := j.exec(ctx, "ALTER TABLE "+j.staged(table)+" IMPORT TABLESPACE"); err != nil {
		var answer *mysql.MySQLError
		if !errors.As(err, &answer) { // it is gone, or we are to stop
			return 0, err
		}
		return 0, &importError{err, placed}
	}
	if j.plan.Product == database.MariaDB {
		if err := j.staging.Imported(ctx); err != nil {
			return 0, err
		}
	}
	// some versions leave what described the files, which would keep the directory from being removed
	return bytes, j.remove(placed, ".cfg", ".cfp")
}

// byPartition imports every partition as a table of its own and exchanges it with the empty one: MariaDB cannot import a partitioned table.
func (j *job) byPartition(ctx context.Context, s *scratch, it *Item) (int64, error) {
	var bytes int64
	for i, leaf := range it.leaves {
		part := fmt.Sprintf("%s_p%d", it.Staged, i+1)
		for _, statement := range []string{
			"DROP TABLE IF EXISTS " + j.staged(part), // of a first attempt
			"CREATE TABLE " + j.staged(part) + " LIKE " + j.staged(it.Staged),
			"ALTER TABLE " + j.staged(part) + " REMOVE PARTITIONING",
		} {
			if err := j.exec(ctx, statement); err != nil {
				return bytes, err
			}
		}
		n, err := j.imported(ctx, s, it, part, leaf.mark())
		bytes += n
		if err != nil {
			return bytes, fmt.Errorf("partition %s: %w", leaf.name(), err)
		}
		for _, statement := range []string{
			"ALTER TABLE " + j.staged(it.Staged) + " EXCHANGE PARTITION " + schema.Quote(leaf.name()) + " WITH TABLE " + j.staged(part),
			"DROP TABLE " + j.staged(part),
		} {
			if err := j.exec(ctx, statement); err != nil {
				return bytes, fmt.Errorf("partition %s: %w", leaf.name(), err)
			}
		}
	}
	return bytes, nil
}

// rowFiles hold the rows and indexes of the other engines.
var rowFiles = []string{".MYD", ".MYI", ".MAD", ".MAI", ".CSV", ".CSM", ".ARZ"}

// replaced puts the files of a table of another engine in the place of an empty one's.
func (j *job) replaced(ctx context.Context, s *scratch, it *Item) (int64, error) {
	flush := "FLUSH NO_WRITE_TO_BINLOG TABLES " + j.staged(it.Staged)
	if err := j.exec(ctx, flush); err != nil {
		return 0, err
	}
	var bytes int64
	err := s.flushed(ctx, it, func() (err error) {
		var files []string
		for _, f := range s.files(it.Staged, "") {
			if slices.Contains(rowFiles, filepath.Ext(f)) {
				files = append(files, f)
			}
		}
		_, bytes, err = j.place(ctx, s, files, it.Staged, it.Staged)
		return err
	})
	if err == nil {
		err = fault.At("tables.copied")
	}
	if err == nil {
		err = j.exec(ctx, flush)
	}
	if err == nil && strings.EqualFold(it.Table.Engine, "Aria") {
		// its pages bear positions of the other server's log
		err = j.statement(ctx, "REPAIR NO_WRITE_TO_BINLOG TABLE "+j.staged(it.Staged))
	}
	return bytes, err
}

// verify has the server read the whole table with all its indexes, and take new statistics of it.
func (j *job) verify(ctx context.Context, it *Item) error {
	if err := j.statement(ctx, "CHECK TABLE "+j.staged(it.Staged)); err != nil {
		return err
	}
	return j.statement(ctx, "ANALYZE NO_WRITE_TO_BINLOG TABLE "+j.staged(it.Staged))
}

// statement runs one of those that tell in rows what went wrong.
func (j *job) statement(ctx context.Context, statement string) error {
	rows, err := schema.Ask(ctx, j.staging.Conn(), statement)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r["msg_type"] == "error" || r["msg_type"] == "status" && r["msg_text"] == "Corrupt" {
			return fmt.Errorf("%s: %s", swap.Short(statement), r["msg_text"])
		}
	}
	return nil
}

// make makes what has no rows to carry. A sequence goes on where the point's stood; a new one is made in its place at once.
func (j *job) make(ctx context.Context, it *Item) error {
	if it.Table.Kind != schema.Sequence {
		create, err := named(it.Create, schema.Quote(it.Staged))
		if err != nil {
			return err
		}
		return j.createAs(ctx, create)
	}
	at := schema.Name{Database: j.staging.Schema, Table: it.Staged}
	if it.InPlace {
		at = it.Target
	}
	create, err := named(it.sequence, at.SQL())
	if err != nil {
		return err
	}
	set := fmt.Sprintf("DO SETVAL(%s, %s, 0)", at.SQL(), it.next)
	if it.InPlace {
		return j.staging.MakeSequence(ctx, at, create, set)
	}
	if err := j.exec(ctx, create); err != nil {
		return err
	}
	return j.exec(ctx, set)
}

// named gives the statement of SHOW CREATE another name: instead of the first word in backticks.
func named(create, name string) (string, error) {
	old := indexName(create)
	if old == "" {
		return "", fmt.Errorf("the server made a statement without a name: %s", swap.Short(create))
	}
	return strings.Replace(create, old, name, 1), nil
}

// code is what is made after the swap.
func (j *job) code() []swap.Code { return j.plan.Code }
