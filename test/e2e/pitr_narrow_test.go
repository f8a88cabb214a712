package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/restore"
)

// TestOneTableAtAMoment goes on to a moment for one table: what cannot matter to it is left out, and it has what it should have all the same.
func TestOneTableAtAMoment(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onBtrfs)
		check(t, s.server.Exec(t.Context(), "CREATE DATABASE n", "CREATE TABLE n.a (id INT PRIMARY KEY, v INT)", "CREATE TABLE n.b (id INT PRIMARY KEY, v INT)",
			"CREATE TABLE n.parent (id INT PRIMARY KEY)", "CREATE TABLE n.child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES n.parent (id) ON DELETE CASCADE)",
			"INSERT INTO n.parent VALUES (1), (2)", "INSERT INTO n.child VALUES (1, 1), (2, 2)"))
		p := s.backup()
		work := []string{"SET SESSION binlog_format = ROW"}
		for i := range 60 {
			work = append(work, fmt.Sprintf("INSERT INTO n.b VALUES (%d, 0)", i))
			if i%6 == 0 { // rows of both, which build on rows of b alone
				work = append(work, "BEGIN", fmt.Sprintf("INSERT INTO n.a VALUES (%d, %d)", i, i), fmt.Sprintf("UPDATE n.b SET v = v + 1 WHERE id = %d", i), "COMMIT")
			}
		}
		work = append(work, "UPDATE n.a SET v = -1 WHERE id = 12", "DELETE FROM n.a WHERE id = 18", "DELETE FROM n.parent WHERE id = 1")
		check(t, s.server.Exec(t.Context(), work...))
		s.isAsNow(p.ID, "n.a", "12 of 73 transactions are left")
		s.isAsNow(p.ID, "n.child", "the foreign key")
		check(t, s.server.Exec(t.Context(), "CREATE TABLE n.later (id INT)"))
		s.isAsNow(p.ID, "n.a", "changes a definition")
		if build.Name == "mariadb-10.11" {
			p = s.backup()
			check(t, s.server.Exec(t.Context(), "SET SESSION binlog_format = STATEMENT", "UPDATE n.b SET v = 1 WHERE id = 1"))
			s.isAsNow(p.ID, "n.a", "by a statement")
			p = s.backup()
			check(t, s.server.Exec(t.Context(), "SET SESSION binlog_format = ROW", "XA START 'x'", "UPDATE n.b SET v = 1 WHERE id = 2", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"))
			s.isAsNow(p.ID, "n.a", "distributed transaction")
		}
	})
}

// isAsNow compares a table, gone on to the end of the binary log, with that of the server.
func (s *shop) isAsNow(point, table, says string) {
	s.t.Helper()
	status := "SHOW MASTER STATUS"
	if s.server.Build.NewStatements() {
		status = "SHOW BINARY LOG STATUS"
	}
	db := must(s.server.DB())(s.t)
	defer db.Close()
	at := must(restore.Rows(s.t.Context(), db, status))(s.t)
	o := s.holdstill("diff", point, table, "--until-position", at[0]["File"]+":"+at[0]["Position"], "--binlogs", s.server.Datadir, "--scratch-dir", s.scratchDir()).want(s.t, 0)
	if !strings.Contains(o.stdout, "0 rows missing, 0 rows added, 0 rows changed") || !strings.Contains(o.stderr, says) {
		s.t.Errorf("%s: %s\n%s", table, o.stdout, o.stderr)
	}
}
