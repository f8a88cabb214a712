package tables_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
	"github.com/holdstill/holdstill/internal/tables"
	"github.com/holdstill/holdstill/internal/undo"
)

// scene is two servers: one plays the scratch server of a point, the other is the live one.
type scene struct {
	*testing.T
	scratch, live *lab.Server
	source        tables.Source
	target        swap.Live
	runs          string
	n             int
}

func open(t *testing.T, build lab.Build, options ...string) *scene {
	t.Helper()
	return openWith(t, labtest.New(t), build, build, options...)
}

func openWith(t *testing.T, l *lab.Lab, scratch, live lab.Build, options ...string) *scene {
	t.Helper()
	s := &scene{T: t, runs: filepath.Join(l.Dir(), "runs")}
	for name, server := range map[string]**lab.Server{"scratch": &s.scratch, "live": &s.live} {
		build := map[string]lab.Build{"scratch": scratch, "live": live}[name]
		made, err := l.Server(t.Context(), build, lab.Spec{Name: name, Options: options})
		s.check(err)
		s.check(made.Start(t.Context()))
		*server = made
	}
	s.source = tables.Source{DB: s.db(s.scratch), Datadir: s.scratch.Datadir, Point: "20261122-130000"}
	s.target = swap.Live{Instance: "live", DB: s.db(s.live), LocalOnly: true, Datadir: s.live.Datadir,
		Endpoint: database.Endpoint{Socket: s.live.Socket, User: "root"}}
	return s
}

func (s *scene) db(server *lab.Server) *sql.DB {
	s.Helper()
	db, err := server.DB()
	s.check(err)
	s.Cleanup(func() { _ = db.Close() })
	return db
}

func (s *scene) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) value(server *lab.Server, query string) string {
	s.Helper()
	v, err := server.Value(s.Context(), query)
	s.check(err)
	return v
}

func (s *scene) begin() *undo.Run {
	s.Helper()
	s.n++
	registry := swap.Undoers(func(context.Context, database.Endpoint) (*sql.DB, error) { return s.live.DB() })
	run, err := undo.Begin(s.runs, fmt.Sprintf("20261122-1300%02d-abcdef", s.n), "live", registry, slog.New(slog.DiscardHandler))
	s.check(err)
	return run
}

// asAccount goes on as the account that docs/grants.md describes.
func (s *scene) asAccount(build lab.Build) {
	s.Helper()
	text, err := os.ReadFile("../../docs/grants.md")
	s.check(err)
	_, rest, found := strings.Cut(string(text), "<!-- tables: "+build.Product+" -->\n```sql\n")
	grants, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		s.Fatal("docs/grants.md has no grants for " + build.Product)
	}
	s.check(s.live.Exec(s.Context(), "CREATE USER holdstill@localhost IDENTIFIED BY 'secret'"))
	for line := range strings.Lines(grants) {
		s.check(s.live.Exec(s.Context(), strings.TrimSuffix(strings.TrimSpace(line), ";")))
	}
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr, config.InterpolateParams = "holdstill", "secret", "unix", s.live.Socket, true
	connector, err := mysql.NewConnector(config)
	s.check(err)
	s.target.DB = sql.OpenDB(connector)
	s.Cleanup(func() { _ = s.target.DB.Close() })
}

var quiet = tables.Deps{Log: slog.New(slog.DiscardHandler)}

// restore wants it to succeed and to leave nothing but the old tables.
func (s *scene) restore(r tables.Request) *tables.Result {
	s.Helper()
	run := s.begin()
	r.LocalOnly = s.target.LocalOnly
	result, err := tables.Restore(s.Context(), run, r, s.source, s.target, quiet)
	s.check(err)
	s.check(run.End())
	s.clean()
	return result
}

// clean wants no staging, no ledger, and no directory of a staging.
func (s *scene) clean() {
	s.Helper()
	left, err := undo.Leftovers(s.runs)
	s.check(err)
	found := s.value(s.live, "SELECT GROUP_CONCAT(SCHEMA_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'holdstill\\_new%'")
	dirs, err := filepath.Glob(filepath.Join(s.live.Datadir, "holdstill_new*"))
	s.check(err)
	if len(left)+len(dirs) > 0 || found != "" {
		s.Errorf("left behind: %v %s %v", left, found, dirs)
	}
}

// picture is what a table is: its rows, by a sum, its definition, and its triggers.
func (s *scene) picture(server *lab.Server, n schema.Name) string {
	s.Helper()
	db, err := server.DB()
	s.check(err)
	defer db.Close()
	sum, err := schema.SumOf(s.Context(), db, n, n.Table == "history")
	s.check(err)
	rows, err := schema.Ask(s.Context(), db, "SHOW CREATE TABLE "+n.SQL())
	s.check(err)
	triggers, err := swap.Triggers(s.Context(), db, n)
	s.check(err)
	out := []string{sum.All, rows[0]["create table"]}
	for _, t := range triggers {
		out = append(out, strings.Join([]string{t.Name, t.Timing, t.Event, t.Body, t.Definer, t.SQLMode, t.Collation}, " "))
	}
	return strings.Join(out, "\n")
}
