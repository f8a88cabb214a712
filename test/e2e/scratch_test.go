package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// asked is one answer of query --json.
type asked struct {
	Columns []string         `json:"columns"`
	Rows    []map[string]any `json:"rows"`
}

func (s *shop) ask(p *catalog.Point, statement string, args ...string) asked {
	s.t.Helper()
	o := s.holdstill(append([]string{"--json", "query", p.ID, statement, "--scratch-dir", s.scratchDir()}, args...)...).want(s.t, 0)
	var out []asked
	check(s.t, json.Unmarshal([]byte(o.stdout), &out))
	if len(out) != 1 {
		s.t.Fatalf("%d answers to %s", len(out), statement)
	}
	for line := range strings.Lines(o.stderr) {
		if strings.Contains(line, "ready after") {
			s.t.Log("ATTENTION: ", strings.TrimSpace(line))
		}
	}
	return out[0]
}

// scratchDir is where the scratch servers of a test are.
func (s *shop) scratchDir() string {
	s.t.Helper()
	dir := filepath.Join(s.lab.Dir(), "scratch")
	check(s.t, os.MkdirAll(dir, 0o755))
	check(s.t, os.Chmod(s.lab.Dir(), 0o755))
	return dir
}

// noScratch wants nothing left of scratch servers.
func (s *shop) noScratch(after string) {
	s.t.Helper()
	if left := names(s.t, s.scratchDir()); len(left) > 0 {
		s.t.Errorf("%s: left in the scratch directory: %v", after, left)
	}
	table := must(os.ReadFile("/proc/self/mountinfo"))(s.t)
	if strings.Contains(string(table), s.scratchDir()) {
		s.t.Errorf("%s: a mount is left", after)
	}
	if pids := serversOn(s.t, s.scratchDir()); len(pids) > 0 {
		s.t.Errorf("%s: servers are left: %v", after, pids)
	}
}

// TestQuery asks points questions while the server is written to: of a cut, and of what the repository holds.
func TestQuery(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		for _, storage := range []string{onBtrfs, onImage} {
			t.Run(storage, func(t *testing.T) {
				s := open(t, build, storage)
				if storage == onImage {
					s.elsewhere()
				}
				s.furnish(1 << 20)
				s.stockedAt(filepath.Join(s.lab.Dir(), "store"))
				writer := must(s.server.Write(t.Context(), lab.WriterOptions{Workers: 2}))(t)
				defer writer.Stop()
				time.Sleep(300 * time.Millisecond)
				p := s.backup()
				time.Sleep(100 * time.Millisecond)
				seen := writer.Stop()
				before := s.look()
				for _, from := range []string{"local", "repository"} {
					ids := map[int64]bool{}
					for _, row := range s.ask(p, "SELECT id FROM sampledb.sampletable", "--from", from).Rows {
						ids[int64(row["id"].(float64))] = true
					}
					s.exactly(p, ids, seen)
					s.noScratch("query from " + from)
				}
				s.same(before)
				if storage == onBtrfs { // the same code on both
					s.answers(p)
					s.lists(p)
					s.differs(p)
				}
			})
		}
	})
}

// TestQueryOfTwoVolumes asks a point whose binary logs lie on a volume of their own: they are a copy, too.
func TestQueryOfTwoVolumes(t *testing.T) {
	s := open(t, must(lab.Find("mariadb-10.11"))(t), onImage)
	logs := must(s.lab.ImageOn(t.Context(), s.outer, "logs", "xfs", 1<<30))(t)
	dir := filepath.Join(logs.Dir, "binlogs")
	check(t, os.Mkdir(dir, 0o750))
	check(t, exec.Command("chown", "--reference="+s.server.Datadir, dir).Run())
	check(t, s.server.Stop(t.Context()))
	text := must(os.ReadFile(s.server.OptionFile))(t)
	check(t, os.WriteFile(s.server.OptionFile, append(text, "\n[mysqld]\nlog-bin="+dir+"/bin\n"...), 0o644))
	check(t, s.server.Start(t.Context()))
	check(t, s.server.Exec(t.Context(), "CREATE DATABASE two", "CREATE TABLE two.t (pad LONGBLOB)", "INSERT INTO two.t VALUES (REPEAT('x', 3000000))"))
	p := s.backup()
	before := must(os.ReadFile(filepath.Join(dir, "bin.000001")))(t)
	if got := s.ask(p, "SELECT LENGTH(pad) AS n FROM two.t"); got.Rows[0]["n"].(float64) != 3000000 {
		t.Errorf("%+v", got)
	}
	if after := must(os.ReadFile(filepath.Join(dir, "bin.000001")))(t); !bytes.Equal(before, after) || len(names(t, dir)) != 2 {
		t.Errorf("the running server's logs were touched: %v", names(t, dir))
	}
	s.noScratch("two volumes")
}

// answers looks at the forms of an answer, and at what is refused.
func (s *shop) answers(p *catalog.Point) {
	t := s.t
	t.Helper()
	ask := func(args ...string) outcome {
		t.Helper()
		return s.holdstill(append([]string{"query", p.ID, "--scratch-dir", s.scratchDir()}, args...)...)
	}
	const statement = "SELECT 1 AS n, NULL AS nothing, 'a,b' AS text, x'00ff' AS bytes"
	if o := ask(statement, "--format", "csv").want(t, 0); o.stdout != "n,nothing,text,bytes\n1,\\N,\"a,b\",0x00FF\n" {
		t.Errorf("csv: %q", o.stdout)
	}
	if o := ask(statement, "SELECT id FROM t WHERE id = 0", "--database", "ship").want(t, 0); !strings.Contains(o.stdout, "1  NULL     a,b   0x00FF\n1 row\n") || !strings.Contains(o.stdout, "0 rows") {
		t.Errorf("table: %q", o.stdout)
	}
	if o := ask("SELECT 'two\\nlines\\0' AS text"); !strings.Contains(o.stdout, `two\nlines`+"\uFFFD") {
		t.Errorf("a text of two lines: %q", o.stdout)
	}
	if o := ask("DELETE FROM ship.t"); o.code != 1 || !strings.Contains(strings.ToLower(o.stderr), "read only transaction") {
		t.Errorf("a write: %d, %s", o.code, o.stderr)
	}
	if o := ask("SELECT 1", "--format", "xml"); o.code != 2 {
		t.Errorf("a form that is none: %d, %s", o.code, o.stderr)
	}
	if o := ask("SELECT * FROM ship.gone"); o.code != 1 || !strings.Contains(o.stderr, "doesn't exist") {
		t.Errorf("a table that is none: %d, %s", o.code, o.stderr)
	}
	s.noScratch("refusals")
}

// lists looks at the list of tables, which is asked for once.
func (s *shop) lists(p *catalog.Point) {
	t := s.t
	t.Helper()
	for _, args := range [][]string{{"--scratch-dir", s.scratchDir()}, {"--scratch-dir", "/nowhere"}} { // the second comes from what was kept
		o := s.holdstill(append([]string{"points", "show", p.ID, "--tables"}, args...)...).want(t, 0)
		if !strings.Contains(o.stdout, "ship.t") || !strings.Contains(o.stdout, "sampledb.sampletable") || !strings.Contains(o.stdout, "tables in ") {
			t.Errorf("%v: %s", args, o.stdout)
		}
	}
	var shown struct {
		ID        string `json:"id"`
		Databases []struct {
			Name   string `json:"name"`
			Tables []struct {
				Name, Engine string
				Rows         int64 `json:"rows_estimated"`
			} `json:"tables"`
		} `json:"databases"`
	}
	check(t, json.Unmarshal([]byte(s.holdstill("--json", "points", "show", p.ID, "--tables").want(t, 0).stdout), &shown))
	if shown.ID != p.ID || len(shown.Databases) < 2 || shown.Databases[0].Tables[0].Engine != "InnoDB" {
		t.Errorf("%+v", shown)
	}
	s.noScratch("the list of tables")
}

// differs spoils a table of the running server, looks at the difference, and puts back what is missing.
func (s *shop) differs(p *catalog.Point) {
	t := s.t
	t.Helper()
	check(t, s.server.Exec(t.Context(), "DELETE FROM ship.t WHERE id > 20 ORDER BY id LIMIT 5", "UPDATE ship.t SET pad = 'spoiled' WHERE id = 20", "INSERT INTO ship.t VALUES (999999, 'new')"))
	file := filepath.Join(s.lab.Dir(), "back.sql")
	var told struct {
		Missing, Added, Changed, Statements int
		Key                                 []string
		Rows                                []struct {
			Kind          string
			Before, After map[string]any
		}
	}
	diff := []string{"diff", p.ID, "ship.t", "--scratch-dir", s.scratchDir()}
	check(t, json.Unmarshal([]byte(s.holdstill(append(diff, "--json", "--sql", file, "--put-back", "missing")...).want(t, 0).stdout), &told))
	if told.Missing != 5 || told.Added != 1 || told.Changed != 1 || told.Statements != 5 || len(told.Rows) != 7 || told.Key[0] != "id" || told.Rows[0].Kind != "changed" {
		t.Errorf("%+v", told)
	}
	back := exec.Command(s.server.Build.Client, "--defaults-file="+s.server.OptionFile)
	back.Stdin = must(os.Open(file))(t)
	if out, err := back.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	o := s.holdstill(diff...).want(t, 0)
	if !strings.Contains(o.stdout, "0 rows missing, 1 row added, 1 row changed") || !strings.Contains(o.stdout, "-> spoiled") {
		t.Errorf("%s", o.stdout)
	}
	if o := s.holdstill("diff", p.ID, "ship.gone", "--scratch-dir", s.scratchDir()); o.code != 4 || !strings.Contains(o.stderr, "ship.gone") {
		t.Errorf("a table that is none: %d, %s", o.code, o.stderr)
	}
	if o := s.holdstill("diff", p.ID, "ship.t", "--with", "ship.gone", "--scratch-dir", s.scratchDir()); o.code != 4 || !strings.Contains(o.stderr, "--table ship.t --into shop") {
		t.Errorf("a table that is lost: %d, %s", o.code, o.stderr)
	}
	s.noScratch("diff")
}

// TestFaultsOfAScratchServer kills the program at every boundary of a query; recover takes away what is left.
func TestFaultsOfAScratchServer(t *testing.T) {
	s := oneServer(t)
	s.stockedAt(filepath.Join(s.lab.Dir(), "store"))
	p := s.backup()
	for _, from := range []string{"local", "repository"} {
		args := []string{"query", p.ID, "SELECT 1", "--scratch-dir", s.scratchDir(), "--from", from}
		before := s.look()
		for _, boundary := range s.passes(args...) {
			if from == "repository" && !strings.HasPrefix(boundary, "place.") && !strings.HasPrefix(boundary, "scratch.") {
				continue // the same as of a cut
			}
			if o := s.withFault(boundary+":kill", args...); o.code != -1 {
				t.Errorf("%s: the kill did not happen: exit code %d\n%s", boundary, o.code, o.stderr)
			}
			s.holdstill("recover").want(t, 0)
			s.noScratch(from + " " + boundary)
			s.same(before)
			if t.Failed() {
				t.FailNow()
			}
		}
	}
}
