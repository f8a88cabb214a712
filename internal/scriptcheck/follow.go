package scriptcheck

import (
	"path"
	"slices"
	"strings"
)

// References lists the files that a script runs, sources, or gives to a database client, as far as their names are known: with a
// script go those that it calls. Their contents are left for the caller to read.
func References(s Script) []Script {
	v := open(&group{}, s)
	var out []Script
	add := func(name, runBy string, phase Purpose) {
		if strings.ContainsAny(name, "$*?") || !strings.Contains(name, "/") && runBy == "" {
			return
		}
		ref := Script{Path: beside(s.Path, name), Purpose: phase, RunBy: runBy, Host: s.Host}
		known := func(o Script) bool { return o.Path == ref.Path }
		if ref.Path != s.Path && !slices.ContainsFunc(out, known) {
			out = append(out, ref)
		}
	}
	for _, c := range v.commands {
		if len(c.words) == 0 || c.phase == "" {
			continue
		}
		switch arg := firstArgument(c.words); {
		case c.name == "." || c.name == "source":
			add(arg, s.shell(v), c.phase)
		case c.name == "sh" || c.name == "dash":
			add(arg, BySh, c.phase)
		case c.name == "bash":
			add(arg, ByBash, c.phase)
		case strings.HasPrefix(c.name, "python"):
			add(arg, ByPython, c.phase)
		default:
			add(c.words[0].s, "", c.phase)
		}
	}
	for _, file := range v.files {
		add(file, BySQL, s.Purpose)
	}
	return slices.DeleteFunc(out, func(r Script) bool { return system(r.Path) })
}

// shell is the one that runs a sourced file.
func (s Script) shell(v *view) string {
	if v.posix {
		return BySh
	}
	return ByBash
}

func firstArgument(words []text) string {
	for _, t := range words[1:] {
		if !strings.HasPrefix(t.s, "-") {
			return t.s
		}
		if strings.HasSuffix(t.s, "c") {
			break
		}
	}
	return ""
}

// system tells the places of programs that are nobody's pre or post scripts.
func system(name string) bool {
	return slices.Contains([]string{"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/dev", "/etc/init.d", "/"}, path.Dir(name))
}
