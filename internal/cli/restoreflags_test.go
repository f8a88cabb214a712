package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestNoFlagOfRestoreIsIgnored gives every flag where it says nothing: silence would mean something else than was asked for, as a live table that
// is replaced where somebody wanted a new data directory.
func TestNoFlagOfRestoreIsIgnored(t *testing.T) {
	t.Setenv("HOLDSTILL_STATE", t.TempDir())
	t.Setenv("HOLDSTILL_RUN", t.TempDir())
	words := map[string]string{"bool": "", "int": "1", "duration": "1s", "string": "x", "stringArray": "x"}
	tried := map[string]bool{}
	for _, c := range []struct {
		says      string
		belonging []string
		args      []string
	}{
		{"tables that go into a running server", ofTables, []string{"latest", "--table", "shop.orders"}},
		{"tables that go into a running server", ofTables, []string{"latest", "--database", "shop"}},
		{"tables of a dump", append(ofLoad, ofUntil...), []string{"--from-dump", "x", "--table", "shop.orders"}},
		{"say which", ofCopies, []string{"latest"}},
	} {
		(&app{}).restore().Flags().VisitAll(func(f *pflag.Flag) {
			if slices.Contains(c.belonging, f.Name) || slices.Contains([]string{"table", "database", "from-dump", "continue", "help"}, f.Name) {
				return
			}
			args := append([]string{"restore"}, append(c.args, "--"+f.Name)...)
			if w := words[f.Value.Type()]; w != "" {
				args = append(args, w)
			}
			var out, complaint bytes.Buffer
			code := Main(args, strings.NewReader(""), &out, &complaint)
			if code != 2 || !strings.Contains(complaint.String(), "--"+f.Name+" ") || !strings.Contains(complaint.String(), c.says) {
				t.Errorf("%v: exit code %d, %s", args, code, complaint.String())
			}
			tried[f.Name] = true
		})
	}
	for _, name := range []string{"datadir", "start", "in-place", "config-dir", "port", "bind-address", "seed", "accept-position",
		"way", "patience", "local-only", "into", "as", "scratch-dir"} {
		if !tried[name] {
			t.Errorf("--%s was not tried", name)
		}
	}
}
