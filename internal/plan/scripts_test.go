package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// scripted is an application on two images; each test changes what it is about.
func scripted() Input {
	at := func(path string) Offer {
		unit := &snapshot.Unit{Provider: "image", Key: path, Freeze: path, Why: "image of " + path}
		return Offer{Purpose: database.DataDir, Place: mount.Place{Path: path, Real: path, MountPoint: path}, Unit: unit}
	}
	return Input{
		Facts: &database.Facts{Product: database.Scripts, Role: database.Standalone,
			Scripts: &database.Scripted{Freeze: true, Plugins: []database.Plugin{{Name: "ScriptRunner", Pre: "/opt/pre.sh"}}}},
		Offers: []Offer{at("/a"), at("/b")},
		Policy: Policy{Mode: database.Auto, Require: catalog.Application, MaxStall: 5 * time.Second},
		RunDir: mount.Place{MountPoint: "/run"},
	}
}

func TestScripts(t *testing.T) {
	obstacle := []database.Obstacle{{What: "the script is bad (code 306)", Remedy: "mend it"}}
	for name, c := range map[string]struct {
		change  func(*Input)
		level   catalog.Consistency // "" if there is a problem
		freeze  string
		problem string
	}{
		"plain":                        {func(*Input) {}, catalog.Application, "/a /b", ""},
		"nothing is frozen":            {func(in *Input) { in.Facts.Scripts.Freeze = false }, catalog.Application, "", ""},
		"one is not frozen":            {func(in *Input) { in.Facts.Scripts.Unfrozen = []string{"/elsewhere", "/b/"} }, catalog.Application, "/a", ""},
		"a bad script":                 {func(in *Input) { in.Facts.Scripts.Lessened = obstacle }, catalog.Filesystem, "/a /b", ""},
		"a bad script, nothing frozen": {func(in *Input) { in.Facts.Scripts.Lessened, in.Facts.Scripts.Freeze = obstacle, false }, catalog.Crash, "", ""},
		"a bad script, one not frozen": {func(in *Input) {
			in.Facts.Scripts.Lessened, in.Facts.Scripts.Unfrozen = obstacle, []string{"/a"}
		}, catalog.Crash, "/b", ""},
		"a script that must not fail": {func(in *Input) { in.Facts.Scripts.Refused = obstacle }, "", "/a /b", "code 306"},
		"mode hot":                    {func(in *Input) { in.Policy.Mode = database.Hot }, catalog.Application, "/a /b", ""},
		"mode cold":                   {func(in *Input) { in.Policy.Mode = database.Cold }, "", "/a /b", "mode cold is for servers"},
		"mode locked":                 {func(in *Input) { in.Policy.Mode = database.Locked }, "", "/a /b", "mode locked is for servers"},
		"the run directory freezes":   {func(in *Input) { in.RunDir.MountPoint = "/b" }, "", "/a /b", "would be frozen"},
		"it does not, left unfrozen": {func(in *Input) {
			in.RunDir.MountPoint, in.Facts.Scripts.Unfrozen = "/b", []string{"/b"}
		}, catalog.Application, "/a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := scripted()
			c.change(&in)
			p := Make(in)
			if p.Consistency != c.level || strings.Join(p.Freeze, " ") != c.freeze || p.Mode != database.Hot {
				t.Errorf("%q, frozen %v, mode %s", p.Consistency, p.Freeze, p.Mode)
			}
			if p.OK() != (c.level == catalog.Application) || (len(p.Problems) > 0) != (c.problem != "") {
				t.Errorf("ok %v, problems %+v", p.OK(), p.Problems)
			}
			if c.problem != "" && !strings.Contains(p.Problems[0].What, c.problem) {
				t.Errorf("problems %+v", p.Problems)
			}
			if len(p.Warnings) > 0 || p.ConsistencyReason == "" {
				t.Errorf("warnings %v, reason %q", p.Warnings, p.ConsistencyReason)
			}
			for _, u := range p.Units {
				if (u.Freeze != "") != strings.Contains(c.freeze, u.Key) {
					t.Errorf("%+v", u)
				}
			}
			for _, r := range p.Reasons {
				if strings.Contains(r.Because, "btrfs") {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

func TestFreezeLimit(t *testing.T) {
	for limit, want := range map[time.Duration]time.Duration{0: 5 * time.Second, time.Second: time.Second, time.Minute: 5 * time.Second} {
		in := scripted()
		in.Facts.Scripts.FreezeLimit = limit
		if p := Make(in); p.Policy.MaxStall != want {
			t.Errorf("%s: %s", limit, p.Policy.MaxStall)
		}
	}
}
