package dump_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/dump"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/schema"
)

var moment = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

func zoo(t *testing.T, b lab.Build) (*lab.Server, dump.Source) {
	t.Helper()
	l := labtest.New(t)
	s, err := l.Server(t.Context(), b, lab.Spec{Name: "s", Options: []string{"sync-binlog=0", "innodb-flush-log-at-trx-commit=0"}})
	must(t, err)
	must(t, s.Start(t.Context()))
	must(t, s.Exec(t.Context(), labtest.ZooStatements(b)...))
	must(t, s.Exec(t.Context(), "CREATE USER reader@'10.%' IDENTIFIED BY 'Secret-1;'", "GRANT SELECT ON zoo.* TO reader@'10.%'"))
	db, err := s.DB()
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	src := dump.Source{DB: db, Endpoint: database.Endpoint{Socket: s.Socket, User: "root"}, Program: b.Server}
	if b.Name == "mysql-5.7" { // its package has no dump tool, so it is the system's MariaDB's, which cannot do generated columns
		var refusal *dump.Refusal
		if _, err := dump.Dump(t.Context(), src, request(filepath.Join(t.TempDir(), "out")), quiet); !errors.As(err, &refusal) {
			t.Errorf("generated columns that cannot come back: %v", err)
		}
		must(t, s.Exec(t.Context(), "ALTER TABLE zoo.types DROP KEY kg, DROP COLUMN gv, DROP COLUMN gs"))
	}
	return s, src
}

func request(dir string) dump.Request {
	return dump.Request{Dir: dir, Threads: 2, Compression: dumpfile.Gzip, Point: "20261122-130000-abcdef", Instance: "zoo", Moment: moment,
		Position: database.Position{File: "binlog.000003", Offset: 4711, GTID: "0-1-5"},
		Sources:  []database.Channel{{Name: "up\nDROP TABLE x;", Host: "10.0.0.1", Port: 3306, File: "binlog.000009", Offset: 99}}}
}

var quiet = dump.Deps{Log: slog.New(slog.DiscardHandler)}

// The files are what people expect of a dump tool: each goes into the server's own client as it is, and brings back everything.
func TestDumpComesBack(t *testing.T) {
	labtest.Matrix(t, comesBack)
}

// MySQL 5.7's package has no dump tool, so it is MariaDB's that dumps it.
func TestDumpByTheOtherProductsTool(t *testing.T) {
	b, err := lab.Find("mysql-5.7")
	must(t, err)
	comesBack(t, b)
}

func comesBack(t *testing.T, b lab.Build) {
	t.Helper()
	s, src := zoo(t, b)
	r := request(filepath.Join(t.TempDir(), "new", "out"))
	if b.Product == lab.MySQL {
		r.Compression = dumpfile.Zstd
	}
	m, err := dump.Dump(t.Context(), src, r, quiet)
	must(t, err)
	if all := strings.Join(m.Warnings, "\n"); strings.Count(all, "FLOAT columns of zoo.types with six digits (fl)") != 1 {
		t.Errorf("the manifest does not tell once of what is rounded: %s", all)
	}
	checkFiles(t, r.Dir, m)
	read, err := dumpfile.ReadManifest(r.Dir)
	must(t, err)
	if len(read.Files) != len(m.Files) || read.Point != r.Point || len(read.Databases) != 2 {
		t.Errorf("manifest: %+v", read)
	}
	for _, d := range m.Databases {
		must(t, s.Exec(t.Context(), "DROP DATABASE "+schema.Quote(d.Name), "CREATE DATABASE "+schema.Quote(d.Name)+" CHARACTER SET "+d.Charset+" COLLATE "+d.Collation))
	}
	must(t, s.Exec(t.Context(), "DROP USER reader@'10.%'"))
	for _, part := range []dumpfile.Part{dumpfile.Rows, dumpfile.Routines, dumpfile.Views, dumpfile.Triggers, dumpfile.Events, dumpfile.Users, dumpfile.Grants} {
		for _, f := range m.Files {
			if f.Part == part {
				pipe(t, s, filepath.Join(r.Dir, f.Name), f.Database)
			}
		}
	}
	checkContent(t, src, m)
	after, err := schema.Read(t.Context(), src.DB)
	must(t, err)
	for _, d := range after.Databases {
		if d.Name == labtest.Zoo && (len(d.Routines) != 2 || len(d.Triggers) != 1 || len(d.Events) != 1) {
			t.Errorf("code: %+v", d)
		}
	}
	if v, err := s.Value(t.Context(), "SELECT COUNT(*) FROM zoo.a_v"); err != nil || v == "0" {
		t.Errorf("the view: %s, %v", v, err)
	}
	grants, err := s.Value(t.Context(), "SELECT COUNT(*) FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE LIKE '%reader%' AND PRIVILEGE_TYPE = 'SELECT'")
	if err != nil || grants != "1" {
		t.Errorf("grants: %s, %v", grants, err)
	}
}

// pipe loads a file as a person does.
func pipe(t *testing.T, s *lab.Server, file, db string) {
	t.Helper()
	in, _, err := dumpfile.Open(file)
	must(t, err)
	defer in.Close()
	cmd := exec.CommandContext(t.Context(), s.Build.Client, "--defaults-file="+s.OptionFile, db)
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", file, err, out)
	}
}

func checkFiles(t *testing.T, dir string, m *dumpfile.Manifest) {
	t.Helper()
	parts := map[dumpfile.Part]int{}
	listed := map[string]bool{dumpfile.ManifestName: true}
	for _, f := range m.Files {
		parts[f.Part]++
		listed[f.Name] = true
		in, p, err := dumpfile.Open(filepath.Join(dir, f.Name))
		must(t, err)
		text, err := io.ReadAll(in)
		must(t, errors.Join(err, in.Close()))
		if p.Total != f.Bytes || f.Bytes == 0 || !strings.Contains(string(text), "binlog.000003, offset 4711, GTID 0-1-5") || strings.Contains(string(text), "\nDROP TABLE x;") ||
			!strings.Contains(string(text), "10.0.0.1:3306, file binlog.000009, offset 99") {
			t.Errorf("%+v: %.600s", f, text)
		}
	}
	for _, part := range []dumpfile.Part{dumpfile.Rows, dumpfile.Schema, dumpfile.Views, dumpfile.Routines, dumpfile.Triggers, dumpfile.Events, dumpfile.Users, dumpfile.Grants} {
		if parts[part] == 0 {
			t.Errorf("no file of the %s", part)
		}
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if info, err := e.Info(); err != nil || !listed[e.Name()] || info.Mode().Perm() != 0o600 {
			t.Errorf("%s lies there: %v", e.Name(), info)
		}
	}
}

func checkContent(t *testing.T, src dump.Source, m *dumpfile.Manifest) {
	t.Helper()
	for _, f := range m.Files {
		if f.Sum == nil {
			continue
		}
		got, err := schema.SumOf(t.Context(), src.DB, f.FullName(), f.Past)
		must(t, err)
		if got.Dumped() != f.Sum.Dumped() || got.Rows != f.InFile {
			t.Errorf("%s: %+v, not %+v", f.FullName(), got, *f.Sum)
		}
	}
}

func TestDirectoryOfADump(t *testing.T) {
	b, err := lab.Find("mariadb-10.11")
	must(t, err)
	_, src := zoo(t, b)
	t.Run("goes on", func(t *testing.T) { goesOn(t, src) })
	t.Run("another point", func(t *testing.T) { anotherPoint(t, src) })
	t.Run("refused", func(t *testing.T) { refused(t, src) })
}

// goesOn: a dump that is stopped does not do again what is done.
func goesOn(t *testing.T, src dump.Source) {
	t.Helper()
	r := request(filepath.Join(t.TempDir(), "out"))
	r.Names = []schema.Name{{Database: "zoo"}}
	ctx, stop := context.WithCancel(t.Context())
	stopping := quiet
	stopping.Tell = func(dump.Event) { stop() }
	if _, err := dump.Dump(ctx, src, r, stopping); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := dumpfile.ReadManifest(r.Dir); !errors.Is(err, dumpfile.ErrUnfinished) {
		t.Errorf("the part of a dump is read: %v", err)
	}
	kept := onlyFile(t, r.Dir)
	before, err := os.Stat(kept)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(r.Dir, "mysqldump-zoo-torn-20261122-1300.sql.gz.part"), []byte("x"), 0o600))
	m, err := dump.Dump(t.Context(), src, r, quiet)
	must(t, err)
	checkContent(t, src, m)
	if after, err := os.Stat(kept); err != nil || !os.SameFile(before, after) {
		t.Errorf("%s was dumped again: %v", kept, err)
	}
	var refusal *dump.Refusal
	if _, err := dump.Dump(t.Context(), src, r, quiet); !errors.As(err, &refusal) {
		t.Errorf("a whole dump is written over: %v", err)
	}
}

// anotherPoint clears the unfinished dump away.
func anotherPoint(t *testing.T, src dump.Source) {
	t.Helper()
	r := request(t.TempDir())
	r.Names = []schema.Name{{Database: "zoo", Table: "many"}, {Database: "zoo", Table: "seq"}}
	ctx, stop := context.WithCancel(t.Context())
	stopping := quiet
	stopping.Tell = func(dump.Event) { stop() }
	if _, err := dump.Dump(ctx, src, r, stopping); err == nil {
		t.Fatal("it was not stopped")
	}
	kept := onlyFile(t, r.Dir)
	r.Point, r.Moment = "20261122-140000-abcdef", moment.Add(time.Hour)
	m, err := dump.Dump(t.Context(), src, r, quiet)
	must(t, err)
	if _, err := os.Stat(kept); err == nil || len(m.Files) != 3 { // the table, the sequence, and the table's triggers
		t.Errorf("%s is still there, or the manifest is wrong: %+v", kept, m.Files)
	}
}

// onlyFile is one that is whole.
func onlyFile(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "mysqldump-*.gz"))
	must(t, err)
	if len(all) == 0 {
		t.Fatal("nothing was whole when it was stopped")
	}
	return all[0]
}

func refused(t *testing.T, src dump.Source) {
	t.Helper()
	full := t.TempDir()
	must(t, os.WriteFile(filepath.Join(full, "letter"), nil, 0o600))
	r := request(filepath.Join(full, "new"))
	var absent *schema.AbsentError
	r.Names = []schema.Name{{Database: "zoo", Table: "unicorn"}}
	if _, err := dump.Dump(t.Context(), src, r, quiet); !errors.As(err, &absent) {
		t.Error(err)
	}
	r.Names = nil
	r.Dir = full
	var refusal *dump.Refusal
	if _, err := dump.Dump(t.Context(), src, r, quiet); !errors.As(err, &refusal) || refusal.Hint() == "" {
		t.Error(err)
	}
	for _, bad := range []string{full, filepath.Join(full, "letter"), filepath.Join(full, "letter", "below"), "/proc/1/dump"} {
		if err := dump.CheckDir(bad); !errors.As(err, &refusal) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	must(t, dump.CheckDir(filepath.Join(full, "absent", "too")))
	if entries, err := os.ReadDir(full); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
