// Package inifile changes single settings of INI files that belong to others. It edits lines and leaves all else as it is, down to
// comments, order and spaces: people and packages read these files too.
package inifile

import (
	"slices"
	"strings"
)

// Get returns the last value that a section has for a key, as readers of such files do. Sections may stand more than once.
func Get(content []byte, section, key string) (value string, ok bool) {
	in := ""
	for line := range strings.Lines(string(content)) {
		if name, is := header(line); is {
			in = name
		} else if k, v, is := setting(line); is && strings.EqualFold(in, section) && strings.EqualFold(k, key) {
			value, ok = v, true
		}
	}
	return value, ok
}

// Set gives a key of a section a value, wherever the section has it, and else adds it to the end of the first such section, and
// else adds the section. A file that has the value already is returned as it is.
func Set(content []byte, section, key, value string) []byte {
	if had, ok := Get(content, section, key); ok && had == value {
		return content
	}
	lines := slices.Collect(strings.Lines(string(content)))
	if n := len(lines); n > 0 && !strings.HasSuffix(lines[n-1], "\n") {
		lines[n-1] += "\n"
	}
	in, end, found := "", -1, false // end is where the first such section ends
	for i, line := range lines {
		if name, is := header(line); is {
			in = name
			if end < 0 && strings.EqualFold(in, section) {
				end = i + 1
			}
			continue
		}
		if k, _, is := setting(line); is && strings.EqualFold(in, section) {
			end = max(end, i+1)
			if strings.EqualFold(k, key) {
				lines[i], found = replaceValue(line, value), true
			}
		}
	}
	switch {
	case end < 0:
		if len(lines) > 0 {
			lines = append(lines, "\n")
		}
		lines = append(lines, "["+section+"]\n", key+" = "+value+"\n")
	case !found:
		lines = slices.Insert(lines, end, key+" = "+value+"\n")
	}
	return []byte(strings.Join(lines, ""))
}

func header(line string) (string, bool) {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
		return strings.TrimSpace(line[1 : len(line)-1]), true
	}
	return "", false
}

func setting(line string) (key, value string, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' || line[0] == ';' {
		return "", "", false
	}
	key, value, ok = strings.Cut(line, "=")
	return strings.TrimSpace(key), strings.TrimSpace(value), ok
}

// replaceValue keeps how the line is spaced.
func replaceValue(line, value string) string {
	at := strings.Index(line, "=") + 1
	space := line[at : at+len(line[at:])-len(strings.TrimLeft(line[at:], " \t"))]
	return line[:at] + space + value + "\n"
}
