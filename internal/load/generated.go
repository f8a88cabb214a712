package load

import (
	"regexp"
	"strings"
)

var generatedColumn = regexp.MustCompile("(?is)^(`(?:[^`]|``)+`) (.*?) GENERATED ALWAYS AS \\((.*)\\) (VIRTUAL|STORED)(.*)$")

// deferGenerated is for MySQL, which does not take the values of generated columns that MariaDB's dumps have: they are plain columns while
// rows come in, and computed again afterwards. An index that needs one waits too.
func (d *definition) deferGenerated() {
	generated := map[string]bool{}
	before := " FIRST"
	var later []string
	for i, line := range d.lines {
		f := generatedColumn.FindStringSubmatch(line)
		if f == nil {
			if strings.HasPrefix(line, "`") {
				before = " AFTER " + columnOf(line)
			}
			continue
		}
		generated[f[1]] = true
		d.lines[i] = f[1] + " " + f[2] + " NULL"
		later = append(later, "DROP COLUMN "+f[1], "ADD COLUMN "+line+before)
		before = " AFTER " + f[1]
	}
	if len(later) == 0 {
		return
	}
	kept := d.lines[:0:0]
	for _, line := range d.lines {
		if isIndex.MatchString(line) && needsOne(line, generated) {
			d.later = append(d.later, "ADD "+line)
		} else {
			kept = append(kept, line)
		}
	}
	d.lines = kept
	d.later = append(later, d.later...)
}

var isIndex = regexp.MustCompile("^(?:(?:UNIQUE|FULLTEXT|SPATIAL) )?KEY `")

func needsOne(index string, generated map[string]bool) bool {
	_, columns, _ := strings.Cut(index, " (")
	for name := range generated {
		if strings.Contains(columns, name) {
			return true
		}
	}
	return false
}

func columnOf(line string) string {
	return "`" + strings.ReplaceAll(oneName.FindStringSubmatch(line)[1], "`", "`") + "`"
}
