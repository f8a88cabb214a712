package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/schema"
)

// sums are the live server's, by table.
func (s *shop) sums(databases ...string) map[schema.Name]schema.Sum {
	s.t.Helper()
	db := must(s.server.DB())(s.t)
	defer db.Close()
	held := must(schema.Read(s.t.Context(), db))(s.t)
	out := map[schema.Name]schema.Sum{}
	for _, name := range databases {
		for _, t := range held.Database(name).Tables {
			if t.HasRows() {
				out[t.FullName()] = must(schema.SumOf(s.t.Context(), db, t.FullName(), t.Kind == schema.Versioned))(s.t)
			}
		}
	}
	return out
}

func (s *shop) dump(p *catalog.Point, out string, args ...string) *dumpfile.Manifest {
	s.t.Helper()
	o := s.holdstill(append([]string{"--json", "dump", p.ID, "--out", out, "--scratch-dir", s.scratchDir()}, args...)...).want(s.t, 0)
	m := &dumpfile.Manifest{}
	check(s.t, json.Unmarshal([]byte(o.stdout), m))
	return m
}

// TestDump dumps a point while the live server goes on to something else: the dump is of the point, the server is not touched.
func TestDump(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onBtrfs)
		s.stockedAt(filepath.Join(s.lab.Dir(), "store"))
		check(t, s.server.Exec(t.Context(), labtest.ZooStatements(build)...))
		then := s.sums(labtest.Zoo, labtest.OddZoo)
		p := s.backupWithDump()
		live := filepath.Join(s.lab.Dir(), "live")
		s.dumpLive(live)
		check(t, s.server.Exec(t.Context(), "DROP TABLE zoo.types", "DELETE FROM zoo.isam", "UPDATE zoo.many SET t = 'later'"))
		before := s.look()

		out := filepath.Join(s.lab.Dir(), "dump")
		o := s.holdstill("dump", p.ID, "--out", out, "--scratch-dir", s.scratchDir(), "--threads", "3").want(t, 0)
		contains(t, o.stderr, "FLOAT columns of zoo.types with six digits", "Dumping table zoo.types...", "mysqldump-zoo-types-")
		m := must(dumpfile.ReadManifest(out))(t)
		dumped := 0
		for _, f := range m.Files {
			if f.Sum == nil {
				continue
			}
			dumped++
			if want := then[f.FullName()]; want.All != f.Sum.All || want.Rounded != f.Sum.Rounded || want.Rows != f.InFile {
				t.Errorf("%s: %+v is not the point's %+v", f.FullName(), *f.Sum, want)
			}
		}
		if dumped != len(then) || m.Position != p.Position || m.Point != p.ID {
			t.Errorf("%d of %d tables; %+v", dumped, len(then), m)
		}
		s.dumpsShown(p, m, out)
		s.sameText(m, out, live)

		two := s.dump(p, filepath.Join(s.lab.Dir(), "two"), "zoo.many", "`o'dd ``zoo``.x-1`", "--from", "repository", "--compression", "zstd")
		names := []string{}
		for _, f := range two.Files {
			names = append(names, f.Name)
		}
		if all := strings.Join(names, " "); !strings.Contains(all, "mysqldump-zoo-many-") || strings.Contains(all, "types") || !strings.Contains(all, ".zst") || strings.Contains(all, "users") {
			t.Errorf("%v", names)
		}
		s.same(before)
		s.noScratch("dumps")
	})
}

// sameText wants a live dump of the same content to have the same files, but for the comments at their beginning.
func (s *shop) sameText(m *dumpfile.Manifest, out, live string) {
	s.t.Helper()
	is := must(dumpfile.ReadManifest(live))(s.t)
	texts := map[string]string{}
	key := func(f dumpfile.File) string { return string(f.Part) + " " + f.FullName().String() }
	for _, f := range is.Files {
		texts[key(f)] = withoutHead(textOf(s.t, filepath.Join(live, f.Name)))
	}
	for _, f := range m.Files {
		got, want := strings.Split(texts[key(f)], "\n"), strings.Split(withoutHead(textOf(s.t, filepath.Join(out, f.Name))), "\n")
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				s.t.Errorf("%s: live %.300q, of the point %.300q", key(f), got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
				break
			}
		}
	}
	if len(is.Files) != len(m.Files) {
		s.t.Errorf("%d files, not %d", len(is.Files), len(m.Files))
	}
}

var autoIncrement = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// withoutHead leaves out the comments before the first statement, and the counters, of which a running server has reserved some more.
func withoutHead(text string) string {
	text = autoIncrement.ReplaceAllString(text, "")
	if _, rest, ok := strings.Cut(text, "-- Server version"); ok {
		return rest
	}
	_, rest, _ := strings.Cut(text, "\n--\n")
	return rest
}

// backupWithDump takes a point and dumps one table of it in one command.
func (s *shop) backupWithDump() *catalog.Point {
	s.t.Helper()
	o := s.holdstill("backup", "--dump")
	if o.code != 2 || !strings.Contains(o.stderr, "dump: directory") {
		s.t.Errorf("a dump to nowhere: %d: %s", o.code, o.stderr)
	}
	old := must(os.ReadFile(s.config))(s.t)
	dir := filepath.Join(s.lab.Dir(), "dumps")
	text := strings.Replace(string(old), "    patience: 10s\n", "    patience: 10s\n    dump:\n      directory: "+dir+"\n      databases: [zoo.isam]\n      compression: none\n      scratch_dir: "+s.scratchDir()+"\n", 1)
	check(s.t, os.WriteFile(s.config, []byte(text), 0o600))
	p := s.backup("--dump")
	if len(p.Dumps) != 1 || filepath.Dir(p.Dumps[0].File) != filepath.Join(dir, p.ID) || !strings.HasSuffix(p.Dumps[0].File, ".sql") {
		s.t.Errorf("%+v", p.Dumps)
	}
	return p
}

func (s *shop) dumpsShown(p *catalog.Point, m *dumpfile.Manifest, out string) {
	s.t.Helper()
	shown := s.holdstill("--json", "points", "show", p.ID).want(s.t, 0).point(s.t)
	tables := 0
	for _, f := range m.Files {
		if f.Part == dumpfile.Rows {
			tables++
		}
	}
	if len(shown.Dumps) != tables+1 || // and the one of the backup
		shown.Dumps[0].Bytes == 0 {
		s.t.Errorf("%d tables, and the point tells %+v", tables, shown.Dumps)
	}
	for _, d := range shown.Dumps {
		if info, err := os.Stat(d.File); err != nil || info.Size() != d.Bytes {
			s.t.Errorf("%+v: %v", d, err)
		}
	}
	contains(s.t, s.holdstill("points", "show", p.ID).want(s.t, 0).stdout, "dump", out)
}

func (s *shop) dumpRefusals(p *catalog.Point, whole string) {
	s.t.Helper()
	none := filepath.Join(s.lab.Dir(), "none")
	for _, bad := range []struct {
		code int
		say  string
		args []string
	}{
		{2, "holds a dump already", []string{p.ID, "--out", whole}},
		{4, "there is no database horses", []string{p.ID, "zoo.unicorn", "horses", "--out", none}},
		{2, "3 parts", []string{p.ID, "a.b.c", "--out", none}},
		{2, "the server's own database", []string{p.ID, "mysql.user", "--out", none}},
		{2, "--out", []string{p.ID}},
		{2, "gzip, zstd or none", []string{p.ID, "--out", none, "--compression", "lzma"}},
		{2, "--threads", []string{p.ID, "--out", none, "--threads", "-1"}},
		{2, "not a directory", []string{p.ID, "--out", filepath.Join(whole, dumpfile.ManifestName, "below")}},
		{2, "/proc/1: ", []string{p.ID, "--out", "/proc/1/dump"}},
		{4, "nosuchpoint", []string{"nosuchpoint", "--out", none}},
	} {
		o := s.holdstill(append([]string{"dump", "--scratch-dir", s.scratchDir()}, bad.args...)...)
		if o.code != bad.code || !strings.Contains(o.stderr, bad.say) {
			s.t.Errorf("%v: %d: %s", bad.args, o.code, o.stderr)
		}
	}
	if _, err := os.Stat(none); err == nil {
		s.t.Error("a refused dump made its directory")
	}
}

// TestDumpKilled kills a dump at its boundaries; the same command ends it, and does not do again what was noted as done.
func TestDumpKilled(t *testing.T) {
	s := oneServer(t)
	check(t, s.server.Exec(t.Context(), labtest.ZooStatements(s.server.Build)...))
	then := s.sums(labtest.Zoo)
	p := s.backup()
	out := filepath.Join(s.lab.Dir(), "dump")
	args := []string{"dump", p.ID, "zoo", "--out", out, "--scratch-dir", s.scratchDir()}
	var kept []os.FileInfo
	for _, boundary := range []string{"dump.begun:kill", "dump.noted:kill:2", "dump.manifest:kill"} {
		if o := s.withFault(boundary, args...); o.code != -1 {
			t.Fatalf("%s: the kill did not happen: %d\n%s", boundary, o.code, o.stderr)
		}
		if _, err := dumpfile.ReadManifest(out); err == nil {
			t.Fatalf("%s: the dump looks whole", boundary)
		}
		s.holdstill("recover").want(t, 0)
		s.noScratch(boundary)
		for _, was := range kept {
			if is, err := os.Stat(filepath.Join(out, was.Name())); err != nil || !os.SameFile(was, is) {
				t.Errorf("%s: %s was dumped again: %v", boundary, was.Name(), err)
			}
		}
		kept = kept[:0]
		notes := string(must(os.ReadFile(filepath.Join(out, dumpfile.UnfinishedName)))(t))
		for _, e := range must(os.ReadDir(out))(t) {
			if strings.Contains(notes, strconv.Quote(e.Name())) { // a file beside them may be whole and not noted yet
				kept = append(kept, must(e.Info())(t))
			}
		}
	}
	if len(kept) < 2 {
		t.Errorf("%d files are noted as done: nothing was tried", len(kept))
	}
	m := s.dump(p, out, "zoo")
	for _, f := range m.Files {
		if f.Sum != nil && f.Sum.All != then[f.FullName()].All {
			t.Errorf("%s: %+v", f.FullName(), *f.Sum)
		}
	}
	for _, e := range must(os.ReadDir(out))(t) {
		if strings.HasSuffix(e.Name(), dumpfile.PartSuffix) || e.Name() == dumpfile.UnfinishedName {
			t.Errorf("%s is left", e.Name())
		}
	}
	s.dumpRefusals(p, out)
}
