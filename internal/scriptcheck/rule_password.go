package scriptcheck

import (
	"regexp"
	"slices"
	"strings"
)

// password: on a command line, or for everybody who can read the script. What is found is never told.
func password(_ *group, v *view) []mistake {
	var out []mistake
	for _, c := range v.commands {
		if databaseTool.MatchString(c.name) && !c.foreign && slices.ContainsFunc(c.words[1:], hasPassword) {
			out = append(out, mistake{line: c.line, what: "a password on the command line of " + c.name})
		}
	}
	for _, s := range v.statements() {
		if !s.foreign && s.argv && sqlPassword.MatchString(s.sql) {
			out = append(out, mistake{line: s.line, what: "a password in a statement on the command line"})
		}
	}
	for _, a := range v.assigned {
		if a.name == "MYSQL_PWD" && !a.foreign && a.known && strings.Trim(a.value, `"'`) != "" {
			out = append(out, mistake{line: a.line, what: "a password in MYSQL_PWD, written into the script",
				why: "everybody who may read the script has it, and it is in the environment of all that the script starts"})
		}
	}
	return out
}

var (
	databaseTool = regexp.MustCompile(`^(mysql|mariadb)([a-z_-]*)$`)
	sqlPassword  = regexp.MustCompile(`(?i)(identified (with \S+ )?(by|as) ?['"]|\b(master|source)_password ?= ?['"]|\bset password\b.*['"])`)
)

// hasPassword: -pSECRET, --password=SECRET. A variable's value is on the command line just so.
func hasPassword(t text) bool {
	for _, prefix := range []string{"--password=", "--pass=", "--password1="} {
		if value, ok := strings.CutPrefix(t.s, prefix); ok {
			return value != ""
		}
	}
	return len(t.s) > 2 && strings.HasPrefix(t.s, "-p")
}
