package tables

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// scratch is a session of the scratch server. What is done to its tables is done to a copy.
type scratch struct {
	conn    *sql.Conn
	exports string // a schema in which tables get names that need no encoding in file names
	dir     string // of that schema
}

func openScratch(ctx context.Context, s Source, run string) (*scratch, error) {
	conn, err := s.DB.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the scratch server: %w", err)
	}
	out := &scratch{conn: conn, exports: "holdstill_export_" + run}
	out.dir = filepath.Join(s.Datadir, swap.Directory(out.exports))
	for _, statement := range []string{"SET SESSION foreign_key_checks = 0, sql_mode = '', lock_wait_timeout = 60", "CREATE DATABASE " + schema.Quote(out.exports) + swap.InTheClear} {
		if err := out.exec(ctx, statement); err != nil {
			out.close()
			return nil, err
		}
	}
	keepHistory(ctx, conn)
	return out, nil
}

// keepHistory lets MariaDB change tables that keep their past; elsewhere there is no such variable.
func keepHistory(ctx context.Context, conn *sql.Conn) {
	_, _ = conn.ExecContext(ctx, "SET SESSION system_versioning_alter_history = KEEP")
}

func (s *scratch) close() { _ = s.conn.Close() }

func (s *scratch) exec(ctx context.Context, statement string) error {
	if _, err := s.conn.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("the scratch server answers to %s: %w", swap.Short(statement), err)
	}
	return nil
}

// strip moves a table to its plain name and takes from it what no import can carry: triggers and foreign keys, which it gets again in
// the swap, and full-text indexes, whose auxiliary tables nothing exports. (MariaDB takes such a table, and crashes over it later.)
// Without the last full-text index a rebuild is needed, since the hidden column stays else. It returns the statement that makes the
// table as its files are now.
func (s *scratch) strip(ctx context.Context, it *Item) (string, error) {
	from, to := it.Table.FullName(), schema.Name{Database: s.exports, Table: it.Staged}
	var statements []string
	for _, t := range it.Detail.Triggers {
		statements = append(statements, "DROP TRIGGER "+schema.Name{Database: from.Database, Table: t.Name}.SQL())
	}
	statements = append(statements, "RENAME TABLE "+from.SQL()+" TO "+to.SQL())
	var drops []string
	for _, k := range it.Detail.Keys {
		drops = append(drops, "DROP FOREIGN KEY "+schema.Quote(k.Name))
	}
	for _, f := range it.indexes() {
		drops = append(drops, "DROP INDEX "+indexName(f))
	}
	if len(drops) > 0 {
		statements = append(statements, "ALTER TABLE "+to.SQL()+" "+strings.Join(drops, ", "))
	}
	switch {
	case len(it.indexes()) > 0:
		statements = append(statements, "ALTER TABLE "+to.SQL()+" FORCE")
	case innodb(it.Detail) && len(it.Table.Partitions) == 0 && len(s.files(it.Staged, "")) == 0 && strings.Contains(it.Create, "TABLESPACE "):
		statements = append(statements, "ALTER TABLE "+to.SQL()+" TABLESPACE innodb_file_per_table")
	}
	for _, statement := range statements {
		if err := s.exec(ctx, statement); err != nil {
			return "", err
		}
	}
	return showCreate(ctx, s.conn, to)
}

// rewrite has the scratch server write a table anew, and returns the statement that makes it.
func (s *scratch) rewrite(ctx context.Context, it *Item) (string, error) {
	n := schema.Name{Database: s.exports, Table: it.Staged}
	if err := s.exec(ctx, "ALTER TABLE "+n.SQL()+" FORCE"); err != nil {
		return "", err
	}
	return showCreate(ctx, s.conn, n)
}

// indexes are the full-text indexes that cannot come with the files: MyISAM and Aria keep theirs in them.
func (it *Item) indexes() []string {
	if !innodb(it.Detail) {
		return nil
	}
	return it.Fulltext
}

// flushed calls do while the table's files are complete on disk and nobody writes to them.
func (s *scratch) flushed(ctx context.Context, it *Item, do func() error) error {
	how := " FOR EXPORT" // writes what an import wants to know beside the file
	if !innodb(it.Detail) {
		how = " WITH READ LOCK"
	}
	if err := s.exec(ctx, "FLUSH TABLES "+schema.Name{Database: s.exports, Table: it.Staged}.SQL()+how); err != nil {
		return err
	}
	err := do()
	if unlocking := s.exec(context.WithoutCancel(ctx), "UNLOCK TABLES"); err == nil {
		err = unlocking
	}
	return err
}

// files are those of a table: all, or of one partition ("#P#p0"), whose marks some versions write in lower case.
func (s *scratch) files(table, partition string) []string {
	var out []string
	found, _ := filepath.Glob(filepath.Join(s.dir, table+"*")) // only a pattern can be wrong
	for _, f := range found {
		rest := strings.TrimPrefix(filepath.Base(f), table)
		if len(rest) == 0 || rest[0] != '.' && rest[0] != '#' {
			continue // of a table whose name begins alike
		}
		if partition == "" || strings.HasPrefix(strings.ToLower(rest), strings.ToLower(partition)+".") {
			out = append(out, f)
		}
	}
	return out
}
