package qemu

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hook/hooktest"
)

func TestContract(t *testing.T) {
	hooktest.Run(t, New(), hooktest.Spec{
		Name: "qemu", Limits: time.Hour, // the agent has no limit
		Terms: hook.Terms{Limit: 60 * time.Second, Hold: 120 * time.Second, Renew: true},
		Calls: []hooktest.Call{
			{Args: []string{"freeze"}, Want: hook.Call{Verb: hook.Pre}},
			{Args: []string{"thaw"}, Want: hook.Call{Verb: hook.Post}},
		},
		Refuses: [][]string{{"pre"}, {"freeze", "x"}, {"freezeFail"}},
		Codes: map[hook.Verb]map[hook.Outcome]int{
			hook.Pre:  {hook.Held: 0, hook.NotReady: 1, hook.TimedOut: 1, hook.Failed: 1, hook.Already: 1, hook.Aborted: 1},
			hook.Post: {hook.Released: 0, hook.Lost: 1, hook.Expired: 1, hook.NoHold: 1, hook.Refused: 0, hook.Failed: 1, hook.Aborted: 1},
		},
	})
}

func TestFiles(t *testing.T) {
	stock := &fstest.MapFile{Data: []byte("#!/bin/sh\nfor f in fsfreeze-hook.d/*; do $f; done\n"), Mode: 0o755}
	custom := &fstest.MapFile{Data: []byte("#!/bin/sh\nmysql ...\n"), Mode: 0o755}
	config := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o600} }
	const d, conf = "/etc/qemu/fsfreeze-hook.d/", "/etc/qemu/qemu-ga.conf"
	for name, c := range map[string]struct {
		machine fstest.MapFS
		paths   string
		says    string
	}{
		"nothing":        {fstest.MapFS{}, d + "50-holdstill /etc/qemu/fsfreeze-hook " + conf, "restart qemu-guest-agent"},
		"stock":          {fstest.MapFS{"etc/qemu/fsfreeze-hook": stock}, d + "50-holdstill /etc/qemu/fsfreeze-hook " + conf, "did more than run"},
		"custom":         {fstest.MapFS{"etc/qemu/fsfreeze-hook": custom}, d + "00-former-fsfreeze-hook " + d + "50-holdstill /etc/qemu/fsfreeze-hook " + conf, ""},
		"not executable": {fstest.MapFS{"etc/qemu/fsfreeze-hook": {Data: custom.Data, Mode: 0o644}}, d + "50-holdstill /etc/qemu/fsfreeze-hook " + conf, ""},
		"configured":     {fstest.MapFS{"etc/qemu/qemu-ga.conf": config("[general]\nfsfreeze-hook=/opt/my hook\n")}, d + "50-holdstill /etc/qemu/fsfreeze-hook " + d + "00-configured-hook " + conf, ""},
		"red hat": {fstest.MapFS{"etc/qemu-ga": {Mode: fs.ModeDir | 0o755}, "etc/qemu-ga/fsfreeze-hook": stock},
			"/etc/qemu-ga/fsfreeze-hook.d/50-holdstill /etc/qemu-ga/fsfreeze-hook", "restorecon"},
	} {
		files, err := New().Files(hooktest.Site(c.machine))
		if err != nil {
			t.Fatal(name, err)
		}
		var paths []string
		says := ""
		for _, f := range files {
			paths = append(paths, f.Path)
			says += f.Register
			if f.Path == conf && (!strings.Contains(string(f.Content), "fsfreeze-hook") || slices.Contains([]string{"configured"}, name) != (f.Mode == 0o600)) {
				t.Errorf("%s: %04o %s", name, f.Mode, f.Content)
			}
		}
		if got := strings.Join(paths, " "); got != c.paths || !strings.Contains(says, c.says) {
			t.Errorf("%s: %s\n%s", name, got, says)
		}
	}
}
