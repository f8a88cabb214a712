package databasetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/holdstill/holdstill/internal/database"
)

// testLayout scatters a server's files over the disk, in directories with unpleasant names.
func (f *fixture) testLayout(t *testing.T) {
	root := filepath.Join(f.lab.Dir(), "scattered files")
	dir := func(name string) string {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(path, 0o755))
		return path
	}
	dirs := map[string]string{}
	for _, name := range []string{"undo", "redo", "logs", "home", "tables", "schema", "aria", "more"} {
		dirs[name] = dir(name)
	}
	out, err := exec.Command("chown", "-R", "mysql:", root).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	options := []string{
		"innodb-data-home-dir=", fmt.Sprintf("innodb-data-file-path=\"%s/ibdata1:12M;%s/ibdata2:12M:autoextend\"", dirs["home"], dirs["more"]),
		fmt.Sprintf("innodb-log-group-home-dir=%q", dirs["redo"]), fmt.Sprintf("innodb-undo-directory=%q", dirs["undo"]),
		fmt.Sprintf("log-bin=%q # a comment", dirs["logs"]+"/own"), fmt.Sprintf("loose-aria-log-dir-path=%q", dirs["aria"]),
		fmt.Sprintf("loose-innodb-directories=%q", dirs["tables"]), "symbolic-links=1", "report-password=hunter2",
	}
	if !f.mariadb() && f.build.AtLeast(8, 0) {
		options = slices.DeleteFunc(options, func(o string) bool { return o == "report-password=hunter2" || o == "symbolic-links=1" })
	}
	s := f.start(t, "layout", options...)
	must(t, s.Exec(t.Context(), "CREATE DATABASE d", fmt.Sprintf("CREATE TABLE d.away (a INT) ENGINE=InnoDB DATA DIRECTORY='%s'", dirs["tables"])))
	must(t, os.Symlink(dirs["schema"], filepath.Join(s.Datadir, "linked")))
	facts := f.facts(t, f.server(t, s))
	want := map[database.Purpose][]string{
		database.DataDir:     {s.Datadir},
		database.SystemSpace: {dirs["home"] + "/ibdata1", dirs["more"] + "/ibdata2"},
		database.RedoLog:     {dirs["redo"]}, database.UndoLog: {dirs["undo"]},
		database.BinaryLog: {dirs["logs"], dirs["logs"] + "/own.index"}, database.SchemaDir: {s.Datadir + "/linked"},
		database.Tablespace: {dirs["tables"] + "/d/away.ibd"},
	}
	if f.mariadb() {
		want[database.AriaLog] = []string{dirs["aria"]}
	} else if f.build.AtLeast(8, 0) {
		want[database.RedoLog] = []string{dirs["redo"] + "/#innodb_redo"}
		want[database.Tablespace] = append(want[database.Tablespace], dirs["tables"])
	}
	for purpose, paths := range want {
		for _, path := range paths {
			if !slices.Contains(facts.Paths, database.Path{Purpose: purpose, Path: path}) {
				t.Errorf("%s: %s is missing from %v", purpose, path, facts.Paths)
			}
		}
	}
	for _, p := range facts.Paths {
		if _, err := os.Lstat(p.Path); err != nil && p.Purpose != database.Persisted {
			t.Errorf("%s: %v", p.Purpose, err)
		}
	}
	if len(facts.Unreadable) > 0 {
		t.Errorf("unreadable: %q", facts.Unreadable)
	}
	for _, file := range facts.Process.OptionFiles {
		for _, o := range file.Options {
			if o.Name == "report_password" && o.Value != "" {
				t.Error("a password is among the facts")
			}
		}
	}
}
