package scriptcheck

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the findings into testdata/bad/*/want.txt; read them before you believe them")

// load reads a directory as a host would have it: pre* and post* with their purposes, as files of /scripts.
func load(t *testing.T, dir string, runBy string) []Script {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []Script
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		s := Script{Path: "/scripts/" + e.Name(), Content: content, Purpose: Both, RunBy: runBy, Host: "azure"}
		switch {
		case e.Name() == "want.txt":
			continue
		case strings.HasSuffix(e.Name(), ".sql"):
			s.RunBy, s.Purpose = BySQL, Pre
		case strings.Contains(e.Name(), "pre"):
			s.Purpose = Pre
		case strings.HasPrefix(e.Name(), "post"):
			s.Purpose = Post
		case e.Name() == "settings.sh":
			s.RunBy = ByBash
		}
		out = append(out, s)
	}
	return out
}

func said(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s:%d %s: %s\n", strings.TrimPrefix(f.Path, "/scripts/"), f.Line, f.Rule, f.What)
	}
	return b.String()
}

// Every bad script gets its findings, at the lines where the mistakes are.
func TestBad(t *testing.T) {
	dirs, _ := filepath.Glob("testdata/bad/*")
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			runBy := map[string]string{"sh": BySh}[filepath.Base(dir)]
			findings := Check(load(t, dir, runBy), World{})
			got, file := said(findings), filepath.Join(dir, "want.txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, _ := os.ReadFile(file)
			if got != string(want) {
				t.Errorf("found:\n%s\nwant:\n%s", got, want)
			}
			complete(t, findings)
		})
	}
}

// complete demands what every finding has, and that none tells a secret.
func complete(t *testing.T, findings []Finding) {
	t.Helper()
	for _, f := range findings {
		if f.Line < 1 || f.Path == "" || f.What == "" || f.Why == "" || f.Remedy == "" {
			t.Errorf("something is missing: %+v", f)
		}
		if strings.Contains(fmt.Sprintf("%+v", f), "hunter2") {
			t.Errorf("tells the password: %+v", f)
		}
		if strings.Contains(f.Remedy, "HOST") {
			t.Errorf("does not name the host: %s", f.Remedy)
		}
	}
}

// Good scripts are left in peace.
func TestGood(t *testing.T) {
	dirs, _ := filepath.Glob("testdata/good/*")
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			if got := said(Check(load(t, dir, ""), World{})); got != "" {
				t.Errorf("found:\n%s", got)
			}
		})
	}
}

// Each rule is what finds its mistakes: without it, testdata's would not be found.
func TestEveryRuleFindsSomething(t *testing.T) {
	found := map[string]bool{}
	dirs, _ := filepath.Glob("testdata/bad/*")
	for _, dir := range dirs {
		for _, f := range Check(load(t, dir, map[string]string{"sh": BySh}[filepath.Base(dir)]), World{}) {
			found[f.Rule] = true
		}
	}
	for _, name := range []string{"lost-lock", "fixed-sleep", "role-by-server-id", "removed-statement", "read-only-off", "replication-started",
		"password", "bash-under-sh", "no-rollback", "status-ignored", "freeze-without-guard"} {
		if !found[name] {
			t.Errorf("%s found nothing", name)
		}
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.name == name }) {
			t.Errorf("there is no rule %s", name)
		}
	}
}
