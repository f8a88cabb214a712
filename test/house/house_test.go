// Package house keeps the rules of the house: who may import whom.
package house

import (
	"errors"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/holdstill/holdstill/internal/"

// fuse is a library that one room alone knows; tests may use it too.
const fuse, fuseRoom = "github.com/hanwen/go-fuse/", "browse"

// makes are the folders below a seam; a make imports its seam and below, never another make. Those that makes share are no makes.
var (
	seams  = []string{"database", "snapshot", "repository", "hook"}
	shared = []string{"database/family", "database/optionfile", "database/databasetest", "snapshot/snapshottest", "hook/hooktest", "repository/repositorytest"}
	verbs  = []string{"plan", "take", "ship", "retain", "verify", "restore", "replica", "pitr", "dump", "tables", "load"}
	// These verbs build on restore; a plan is what take carries out.
	allowed = map[string][]string{"replica": {"restore"}, "pitr": {"restore"}, "verify": {"restore"}, "dump": {"restore"}, "take": {"plan"}}
)

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "../../internal/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := strings.TrimPrefix(words[0], module)
		for _, imported := range words[1:] {
			to, inside := strings.CutPrefix(imported, module)
			if strings.HasPrefix(imported, fuse) && from != fuseRoom {
				t.Errorf("%s imports %s: only %s and tests may", from, imported, fuseRoom)
			}
			if inside {
				if why := forbidden(from, to); why != "" {
					t.Errorf("%s imports %s: %s", from, to, why)
				}
			}
		}
	}
}

func forbidden(from, to string) string {
	isMake := func(p string) bool { return slices.Contains(seams, path.Dir(p)) && !slices.Contains(shared, p) }
	top := func(p string) string { first, _, _ := strings.Cut(p, "/"); return first }
	switch {
	case isMake(from) && isMake(to):
		return "a make never imports another make"
	case isMake(to) && from != "wire":
		return "only wire knows the makes"
	case to == "config" && from != "wire" && from != "cli":
		return "only wire and cli import config"
	case to == "cli" || to == "wire" && from != "cli":
		return "dependencies point down"
	case slices.Contains(seams, top(from)) && slices.Contains(verbs, to):
		return "a seam never imports a verb"
	case slices.Contains(verbs, from) && slices.Contains(verbs, to) && !slices.Contains(allowed[from], to):
		return "verbs meet in the catalogue"
	}
	return ""
}

func TestTheRulesCanFail(t *testing.T) {
	for _, pair := range [][2]string{{"database/mysql", "database/mariadb"}, {"take", "snapshot/btrfs"}, {"take", "config"}, {"take", "restore"}, {"snapshot/image", "take"}, {"undo", "wire"}} {
		if forbidden(pair[0], pair[1]) == "" {
			t.Errorf("%s may import %s", pair[0], pair[1])
		}
	}
	if why := forbidden("replica", "restore"); why != "" {
		t.Error(why)
	}
}

// Only main ends the process: anything else would skip what has to be taken back.
func TestOnlyMainExits(t *testing.T) {
	out, err := exec.Command("git", "grep", "-nE", `\b(os\.Exit|log\.Fatal)`, "--", "../../internal/*.go").Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // without a hit it ends with 1
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		file, _, _ := strings.Cut(line, ":")
		if !strings.HasSuffix(file, "_test.go") && !slices.Contains(shared, strings.TrimPrefix(path.Dir(file), "../../internal/")) {
			t.Error(line)
		}
	}
}
