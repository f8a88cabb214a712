package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCampaign is the bounded campaign: the seed is the same each time, so that a red run can be run again.
func TestCampaign(t *testing.T) {
	verdict := must(campaign(t.Context(), options{n: 200, seed: 7, restoreEvery: 16, dir: dirFor(t), binary: built(t, ""), verbose: true}, t.Output()))(t)
	verdict.print(t.Output())
	if !verdict.green() {
		t.Error("the campaign is red")
	}
}

// bugs are deliberate: each is a change to one line of the program, and the fault that must bring it to light. They keep the campaign
// honest: a witness that sees nothing is worse than none.
var bugs = []struct {
	name, file, from, to string
	fault                string
	seen                 func(*verdict) bool
}{
	{"the guard does not thaw when it is orphaned", "internal/freeze/guard.go",
		"return g.thaw(onOrphaned)", "return 0",
		"mariadb-10.11/source/image/hot/freeze.acted/kill", func(v *verdict) bool { return len(v.bounds) > 0 }},
	{"read_only is not put back", "internal/database/family/readonly.go",
		"range readOnlyBack(found) {", "range readOnlyBack(found)[:0] {",
		"mariadb-10.11/source/btrfs/cold/readonly.acted/kill", func(v *verdict) bool { return len(v.left) > 0 }},
	{"a promise is not written down", "internal/undo/run.go",
		"run.ledger.append(promise)", "error(nil)",
		"mariadb-10.11/source/btrfs/hot/cut.acted/kill", func(v *verdict) bool { return len(v.left) > 0 }},
	{"a lost hold is not told", "internal/take/still.go",
		"w.holdLost, err = err, nil", "err = nil",
		"mariadb-10.11/source/btrfs/hot/cut.act/kill-connection", func(v *verdict) bool { return len(v.claims) > 0 }},
	{"the hold holds nothing", "internal/database/mariadb/statements.go",
		`"BACKUP STAGE BLOCK_COMMIT"`, `"DO 1"`,
		"mariadb-10.11/source/btrfs/hot/hold.acted/slow", func(v *verdict) bool { return v.invented > 0 }},
}

func TestDeliberateBugsTurnItRed(t *testing.T) {
	for _, bug := range bugs {
		t.Run(bug.name, func(t *testing.T) {
			i, ok := parse(bug.fault)
			if !ok {
				t.Fatal(bug.fault)
			}
			w := must(newWorld(t.Context(), i.place, filepath.Join(dirFor(t), "world"), built(t, overlay(t, bug.file, bug.from, bug.to))))(t)
			defer func() { check(t, w.close()) }()
			w.every = 1
			v := must(w.inject(i, 1))(t)
			t.Logf("exit code %d, left %q, lost %d, invented %d, claims %q, bounds %q", v.code, v.left, v.lost, v.invented, v.claims, v.bounds)
			if v.missed || !bug.seen(v) {
				t.Errorf("the campaign did not see it:\n%s", v.said)
			}
		})
	}
}

// TestARunThatDoesNotEndIsKept: the rare case explains itself.
func TestARunThatDoesNotEndIsKept(t *testing.T) {
	dir := dirFor(t)
	program := filepath.Join(t.TempDir(), "program")
	check(t, os.WriteFile(program, nil, 0o755))
	w := must(newWorld(t.Context(), place{"mysql-9.7", "replica", "image"}, filepath.Join(dir, "world"), program))(t)
	r := must(w.launch("hold.act:pause:1", "/bin/bash", "-c", "echo says this >&2; sleep 60"))(t)
	if code := r.wait(200 * time.Millisecond); code != -2 {
		t.Errorf("it ended with %d", code)
	}
	check(t, w.close())
	for name, want := range map[string]string{"stderr": "says this", "command": "hold.act:pause:1",
		"subject.txt": "Replica_SQL_Running=Yes", "subject.errors": "ready for connections", "origin.txt": "Binlog Dump"} {
		if text, err := os.ReadFile(filepath.Join(r.kept, name)); !strings.Contains(string(text), want) {
			t.Errorf("%s does not hold %q: %v\n%s", name, want, err, text)
		}
	}
	if !strings.Contains(r.said(), r.kept) {
		t.Errorf("the report does not name %s: %s", r.kept, r.said())
	}
	check(t, os.RemoveAll(filepath.Dir(r.kept)))
}

// overlay tells go build to take another text for one file. The text must hold the line exactly once: a bug that does not apply any
// more would prove nothing.
func overlay(t *testing.T, file, from, to string) string {
	t.Helper()
	path := filepath.Join(must(filepath.Abs("../.."))(t), file)
	text := must(os.ReadFile(path))(t)
	if n := bytes.Count(text, []byte(from)); n != 1 {
		t.Fatalf("%s holds %q %d times, not once", file, from, n)
	}
	changed := filepath.Join(t.TempDir(), filepath.Base(file))
	check(t, os.WriteFile(changed, bytes.Replace(text, []byte(from), []byte(to), 1), 0o600))
	list := must(json.Marshal(map[string]any{"Replace": map[string]string{path: changed}}))(t)
	name := filepath.Join(t.TempDir(), "overlay.json")
	check(t, os.WriteFile(name, list, 0o600))
	return name
}

func built(t *testing.T, overlay string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "holdstill")
	check(t, build(t.Context(), out, overlay))
	return out
}

// dirFor is a short path, since a server's socket must fit into 107 characters, that servers can go through.
func dirFor(t *testing.T) string {
	t.Helper()
	dir := must(os.MkdirTemp("/var/tmp", "holdstill-f-"))(t)
	check(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.Remove(dir) }) // each lab below removes itself
	return dir
}

// TestDrawIsFairAndRepeats: the same seed gives the same faults, and a campaign of a world's share leaves no boundary out.
func TestDrawIsFairAndRepeats(t *testing.T) {
	p := place{"mariadb-10.11", "replica", "image"}
	all := append([]string{"ledger.append", "ledger.append:2"}, order...)
	passed := map[string][]string{"hot": all, "locked": all, "cold": all}
	first, second := draw(p, passed, 200, dice("a", 7)), draw(p, passed, 200, dice("a", 7))
	if !slices.Equal(first, second) {
		t.Error("the same seed drew other faults")
	}
	if slices.Equal(first, draw(p, passed, 200, dice("a", 8))) {
		t.Error("another seed drew the same faults")
	}
	actorsSeen, boundariesSeen := map[string]bool{}, map[string]bool{}
	for _, i := range first {
		actorsSeen[i.actor], boundariesSeen[i.boundary] = true, true
		if !actorNamed(i.actor).fits(i) {
			t.Errorf("%s does not fit", i)
		}
		if again, ok := parse(i.String()); !ok || again != i {
			t.Errorf("%s reads back as %s", i, again)
		}
	}
	for _, a := range actors {
		if !actorsSeen[a.name] {
			t.Errorf("the actor %s was not drawn", a.name)
		}
	}
	for _, b := range all {
		if !boundariesSeen[b] {
			t.Errorf("the boundary %s was not drawn", b)
		}
	}
}

// TestOrderIsTheProgram's: the boundaries that the campaign knows by their order are those of the program.
func TestOrderIsThePrograms(t *testing.T) {
	out := must(exec.CommandContext(context.Background(), built(t, ""), "fault", "list").Output())(t)
	listed := strings.Fields(string(out))
	for _, b := range order {
		if !slices.Contains(listed, b) {
			t.Errorf("the program has no boundary %s", b)
		}
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
