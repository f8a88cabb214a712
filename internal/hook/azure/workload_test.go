package azure

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/hook"
)

func TestWishes(t *testing.T) {
	for text, want := range map[string]struct {
		wishes hook.Wishes
		fault  string
	}{
		"[workload]\nworkload_name = mysql\nrole = slave\nenforceSlaveOnly = True\ncredString = --defaults-extra-file=/x\n": {wishes: hook.Wishes{Product: "mysql", Role: "replica", OnlyReplica: true, Ignored: []string{"credString"}}},
		"[workload]\nworkload_name=\"MariaDB\"\nrole=master\nenforceSlaveOnly=False\n":                                      {wishes: hook.Wishes{Product: "mariadb", Role: "source"}},
		"[other]\nrole = slave\n":                  {},
		"[workload]\nrole = boss\n":                {fault: "neither master nor slave"},
		"[workload]\nenforceSlaveOnly = perhaps\n": {fault: "neither true nor false"},
	} {
		got, ok, err := New().(hook.Wishful).Wishes(func(string) ([]byte, error) { return []byte(text), nil })
		if want.fault != "" {
			if err == nil || !strings.Contains(err.Error(), want.fault) {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil || !ok || got.Product != want.wishes.Product || got.Role != want.wishes.Role || got.OnlyReplica != want.wishes.OnlyReplica ||
			strings.Join(got.Ignored, " ") != strings.Join(want.wishes.Ignored, " ") {
			t.Errorf("%q: %+v, %v, %v", text, got, ok, err)
		}
	}
	if _, ok, err := New().(hook.Wishful).Wishes(func(string) ([]byte, error) { return nil, fs.ErrNotExist }); ok || err != nil {
		t.Errorf("no file: %v, %v", ok, err)
	}
}
