package inifile

import "testing"

func TestSet(t *testing.T) {
	for name, c := range map[string]struct{ before, after string }{
		"nothing":          {"", "[Snapshots]\nenabled = true\n"},
		"another section":  {"# mine\n[Core]\na=1", "# mine\n[Core]\na=1\n\n[Snapshots]\nenabled = true\n"},
		"is so":            {"[snapshots]\n enabled=true", "[snapshots]\n enabled=true"},
		"changed":          {"[Snapshots]\n; why\nenabled  =  false\nx = 1\n", "[Snapshots]\n; why\nenabled  =  true\nx = 1\n"},
		"added":            {"[Snapshots]\nx = 1\n\n# of y\n[Y]\nenabled = false\n", "[Snapshots]\nx = 1\nenabled = true\n\n# of y\n[Y]\nenabled = false\n"},
		"empty section":    {"[Snapshots]\n[Y]\nz=1\n", "[Snapshots]\nenabled = true\n[Y]\nz=1\n"},
		"twice, last wins": {"[Snapshots]\nenabled=true\n[Snapshots]\nenabled=false\n", "[Snapshots]\nenabled=true\n[Snapshots]\nenabled=true\n"},
		"a comment":        {"[Snapshots]\n#enabled = true\n", "[Snapshots]\nenabled = true\n#enabled = true\n"},
	} {
		after := Set([]byte(c.before), "Snapshots", "enabled", "true")
		if string(after) != c.after {
			t.Errorf("%s: %q, not %q", name, after, c.after)
		}
		if again := Set(after, "Snapshots", "enabled", "true"); string(again) != string(after) {
			t.Errorf("%s: changed again: %q", name, again)
		}
		if value, ok := Get(after, "snapshots", "Enabled"); !ok || value != "true" {
			t.Errorf("%s: reads %q", name, value)
		}
	}
}
