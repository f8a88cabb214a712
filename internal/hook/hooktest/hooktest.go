// Package hooktest is what every personality of a host has to pass.
package hooktest

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
)

// Spec is what the contract of one host says.
type Spec struct {
	Name   string
	Terms  hook.Terms
	Limits time.Duration // what the host waits for a pre: the limit has to be below it
	Calls  []Call
	// Refuses are argument lists that are none of the contract's, beside those that are for nobody.
	Refuses [][]string
	Codes   map[hook.Verb]map[hook.Outcome]int
}

// Call is an argument list and what it means.
type Call struct {
	Args []string
	Want hook.Call
}

// everyOutcome of each verb, so that a table cannot leave one out.
var everyOutcome = map[hook.Verb][]hook.Outcome{
	hook.Pre:   {hook.Held, hook.NotReady, hook.TimedOut, hook.Failed, hook.Already, hook.Aborted},
	hook.Post:  {hook.Released, hook.Lost, hook.Expired, hook.NoHold, hook.Refused, hook.Failed, hook.Aborted},
	hook.Abort: {hook.Aborted, hook.Released, hook.Lost, hook.Expired, hook.NoHold, hook.Refused, hook.Failed},
	hook.Probe: {hook.Held, hook.NotReady, hook.Failed},
}

// Run checks a personality against its contract, and against what goes for all.
func Run(t *testing.T, p hook.Personality, spec Spec) {
	t.Helper()
	if p.Name() != spec.Name || p.Host() == "" || len(p.Forms()) == 0 {
		t.Errorf("name %q, host %q, %d forms", p.Name(), p.Host(), len(p.Forms()))
	}
	if p.Terms() != spec.Terms || p.Terms().Limit >= spec.Limits {
		t.Errorf("terms %+v, not %+v below %s", p.Terms(), spec.Terms, spec.Limits)
	}
	t.Run("calls", func(t *testing.T) { calls(t, p, spec) })
	t.Run("exit codes", func(t *testing.T) { codes(t, p, spec) })
	t.Run("files", func(t *testing.T) { files(t, p) })
}

func calls(t *testing.T, p hook.Personality, spec Spec) {
	spoken := map[hook.Verb]bool{}
	for _, c := range spec.Calls {
		got, err := p.Parse(c.Args)
		if err != nil || !reflect.DeepEqual(got, c.Want) {
			t.Errorf("%q is %+v (%v), not %+v", c.Args, got, err, c.Want)
		}
		spoken[got.Verb] = true
	}
	for _, args := range append(spec.Refuses, nil, []string{""}, []string{"--help"}, []string{"PRE"}, []string{"begin"}) {
		if got, err := p.Parse(args); err == nil {
			t.Errorf("%q is taken for %+v", args, got)
		}
	}
	for _, form := range p.Forms() {
		if _, err := p.Parse(strings.Fields(form[0])[:1]); err != nil || form[1] == "" {
			t.Errorf("the form %q: %v", form, err)
		}
	}
	if !spoken[hook.Pre] || !spoken[hook.Post] {
		t.Error("a host calls before and after")
	}
}

func codes(t *testing.T, p hook.Personality, spec Spec) {
	for verb, outcomes := range everyOutcome {
		for _, outcome := range outcomes {
			want, named := spec.Codes[verb][outcome]
			if !named && verb != hook.Abort && verb != hook.Probe {
				t.Fatalf("the table does not say what %s %s is", verb, outcome)
			}
			got := p.ExitCode(verb, outcome)
			if named && got != want {
				t.Errorf("%s %s ends with %d, not %d", verb, outcome, got, want)
			}
			if verb == hook.Probe && got != 0 {
				t.Errorf("a probe ends with %d", got)
			}
			if outcome.Good(verb) != (got == 0) && (verb == hook.Pre || verb == hook.Post && outcome != hook.Refused) {
				t.Errorf("%s %s ends with %d", verb, outcome, got)
			}
		}
	}
}

// files looks at what would be written to an empty machine: every script runs, the names hold, and the second look finds the same.
func files(t *testing.T, p hook.Personality) {
	dir := t.TempDir()
	binary := filepath.Join(dir, `it's a "holdstill"`)
	echo := "#!/bin/sh\nfor word; do echo \"<$word>\"; done\nexit 7\n"
	if err := os.WriteFile(binary, []byte(echo), 0o700); err != nil {
		t.Fatal(err)
	}
	site := Site(fstest.MapFS{})
	site.Binary, site.Config = binary, "/etc/my config.yaml"
	written, err := p.Files(site)
	if err != nil || len(written) == 0 {
		t.Fatal(len(written), err)
	}
	machine := fstest.MapFS{}
	for _, f := range written {
		if !filepath.IsAbs(f.Path) || filepath.Clean(f.Path) != f.Path || f.Mode&^0o777 != 0 || f.Mode&0o022 != 0 || f.Mode&0o400 == 0 || f.Why == "" {
			t.Errorf("%s: mode %04o, why %q", f.Path, f.Mode, f.Why)
		}
		machine[f.Path[1:]] = &fstest.MapFile{Data: f.Content, Mode: f.Mode}
		if bytes.HasPrefix(f.Content, []byte("#!")) {
			tryScript(t, p.Name(), f)
		}
	}
	site.Read, site.Stat = Site(machine).Read, Site(machine).Stat
	again, err := p.Files(site)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range again {
		if there := machine[f.Path[1:]]; there == nil || !bytes.Equal(there.Data, f.Content) || there.Mode != f.Mode {
			t.Errorf("%s would be written otherwise the second time", f.Path)
		}
	}
}

// tryScript runs a script, as hosts do, with sh or by itself, and looks what the program is called with.
func tryScript(t *testing.T, name string, f hook.File) {
	if f.Mode&0o100 == 0 {
		t.Errorf("%s is a script that cannot be executed", f.Path)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, f.Content, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-n", script).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", f.Path, err, out)
	}
	if !bytes.Contains(f.Content, []byte("exec ")) || !bytes.Contains(f.Content, []byte("holdstill\"")) {
		return // no wrapper: the make tests it
	}
	out, err := exec.Command("sh", script, "some disk", "$x").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("%s does not end as the program does: %v", f.Path, err)
	}
	words := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(string(out), "my config", "my_config"), "some disk", "some_disk"))
	want := []string{"<--config>", "</etc/my_config.yaml>", "<hook>", "<" + name + ">"}
	if len(words) < 6 || !slices.Equal(words[:4], want) || !slices.Equal(words[len(words)-2:], []string{"<some_disk>", "<$x>"}) {
		t.Errorf("%s calls the program with %q", f.Path, out)
	}
}

// Site is a machine that has these files only.
func Site(files fstest.MapFS) hook.Site {
	inside := func(path string) string { return strings.TrimPrefix(path, "/") }
	return hook.Site{
		Binary: "/usr/local/sbin/holdstill",
		Read:   func(path string) ([]byte, error) { return fs.ReadFile(files, inside(path)) },
		Stat:   func(path string) (fs.FileInfo, error) { return fs.Stat(files, inside(path)) },
	}
}
