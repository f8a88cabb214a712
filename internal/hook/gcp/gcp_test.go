package gcp

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hook/hooktest"
)

func TestContract(t *testing.T) {
	disks := map[string]string{"disks": "0/1,0/2"}
	hooktest.Run(t, New(), hooktest.Spec{
		Name: "gcp", Limits: 60 * time.Second,
		Terms: hook.Terms{Limit: 50 * time.Second, Hold: 60 * time.Second, Freeze: true, Renew: true},
		Calls: []hooktest.Call{
			{Args: []string{"pre", "0/1,0/2"}, Want: hook.Call{Verb: hook.Pre, Details: disks}},
			{Args: []string{"post", "0/1,0/2"}, Want: hook.Call{Verb: hook.Post, Details: disks}},
			{Args: []string{"pre"}, Want: hook.Call{Verb: hook.Pre}},
			{Args: []string{"post", ""}, Want: hook.Call{Verb: hook.Post}},
		},
		Refuses: [][]string{{"pre", "0/1", "0/2"}, {"abort", "0/1"}},
		Codes: map[hook.Verb]map[hook.Outcome]int{
			hook.Pre:  {hook.Held: 0, hook.NotReady: 1, hook.TimedOut: 124, hook.Failed: 1, hook.Already: 1, hook.Aborted: 1},
			hook.Post: {hook.Released: 0, hook.Lost: 1, hook.Expired: 1, hook.NoHold: 1, hook.Refused: 1, hook.Failed: 1, hook.Aborted: 1},
		},
	})
}

func TestConfig(t *testing.T) {
	for before, after := range map[string]string{
		"":                           "[Snapshots]\nenabled = true\ntimeout_in_seconds = 60\n",
		"# a\n[Core]\nx = 1\n":       "# a\n[Core]\nx = 1\n\n[Snapshots]\nenabled = true\ntimeout_in_seconds = 60\n",
		"[Snapshots]\nenabled=false": "[Snapshots]\nenabled=true\ntimeout_in_seconds = 60\n",
		"[Snapshots]\ntimeout_in_seconds = 300\nenabled = true\n": "[Snapshots]\ntimeout_in_seconds = 300\nenabled = true\n",
		"[snapshots]\ntimeout_in_seconds = 10\nenabled = true\n":  "[snapshots]\ntimeout_in_seconds = 60\nenabled = true\n",
	} {
		if got := string(enable([]byte(before))); got != after {
			t.Errorf("%q becomes %q", before, got)
		}
	}
}

func TestFilesKeepTheModeOfTheConfig(t *testing.T) {
	files, err := New().Files(hooktest.Site(fstest.MapFS{configPath[1:]: {Data: []byte("[a]\n"), Mode: 0o640}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Path == configPath && f.Mode != 0o640 || f.Path != configPath && (f.Mode != 0o700 || f.DirMode != 0o700 || !strings.HasPrefix(f.Path, "/etc/google/snapshots/")) {
			t.Errorf("%s %04o in %04o", f.Path, f.Mode, f.DirMode)
		}
	}
}
