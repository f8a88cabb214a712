// Package optionfile reads option files as the servers and their clients do.
//
// A file is lines: "[group]", "name = value", "name", "!include FILE", "!includedir DIR" (its *.cnf, sorted), and comments that
// begin with "#" or ";" ("#" also after a value, outside quotes). Dashes in names count as underscores. A value may be quoted with
// ' or ", and knows the escapes \b \t \n \r \\ \s, \" and \'. Prefixes (loose_, skip_) stay as they are written. Later lines win.
// A file that everybody may write is ignored, as the servers do.
package optionfile

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

// maxDepth is how deep the servers follow includes.
const maxDepth = 10

// reading collects files in reading order. A file that goes on after an include appears twice, with the parts of it.
type reading struct {
	groups []string
	files  []database.OptionFile
}

// parseFile reads one file and what it includes: the options of wanted groups only.
func parseFile(path string, groups []string) ([]database.OptionFile, error) {
	r := &reading{groups: groups}
	err := r.file(path, 0)
	return r.files, err
}

func (r *reading) file(path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: includes are nested too deep", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || info.Mode().IsRegular() && info.Mode().Perm()&0o002 != 0 {
		return err
	}
	r.files = append(r.files, database.OptionFile{Path: path})
	group := ""
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if group, err = r.line(path, group, strings.TrimSpace(lines.Text()), depth); err != nil {
			return err
		}
	}
	return lines.Err()
}

// line reads one line and returns the group that holds from there on.
func (r *reading) line(path, group, line string, depth int) (string, error) {
	switch {
	case line == "" || line[0] == '#' || line[0] == ';':
	case line[0] == '!':
		return group, r.include(path, line, depth)
	case line[0] == '[':
		name, _, ok := strings.Cut(line[1:], "]")
		if !ok {
			return "", fmt.Errorf("%s: the group %q has no end", path, line)
		}
		return strings.TrimSpace(name), nil
	case slices.Contains(r.groups, group):
		r.add(path, parseLine(group, line))
	}
	return group, nil
}

func (r *reading) add(path string, o database.Option) {
	if last := r.files[len(r.files)-1]; last.Path != path {
		r.files = append(r.files, database.OptionFile{Path: path})
	}
	last := &r.files[len(r.files)-1]
	last.Options = append(last.Options, o)
}

func (r *reading) include(path, line string, depth int) error {
	dir := filepath.Dir(path)
	if rest, ok := strings.CutPrefix(line, "!includedir"); ok {
		return r.includeDir(absolute(dir, strings.TrimSpace(rest)), depth)
	}
	if rest, ok := strings.CutPrefix(line, "!include"); ok {
		return r.file(absolute(dir, strings.TrimSpace(rest)), depth+1)
	}
	return nil // servers ignore directives that they don't know
}

func (r *reading) includeDir(dir string, depth int) error {
	entries, err := os.ReadDir(dir) // sorted by name
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".cnf" {
			continue
		}
		if err := r.file(filepath.Join(dir, e.Name()), depth+1); err != nil {
			return err
		}
	}
	return err
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func parseLine(group, line string) database.Option {
	name, value, found := strings.Cut(line, "=")
	if !found {
		return database.Option{Group: group, Name: Name(uncomment(line)), Bare: true}
	}
	return database.Option{Group: group, Name: Name(name), Value: unquote(uncomment(strings.TrimSpace(value)))}
}

// Name is an option's name as we compare it.
func Name(name string) string { return strings.ReplaceAll(strings.TrimSpace(name), "-", "_") }

// uncomment cuts a "#" outside quotes and what follows it.
func uncomment(s string) string {
	var quote byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quote != 0:
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '#':
			return strings.TrimSpace(s[:i])
		}
	}
	return strings.TrimSpace(s)
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		s = s[1 : len(s)-1]
	}
	return unescape(s)
}

var escapes = map[byte]byte{'b': '\b', 't': '\t', 'n': '\n', 'r': '\r', '\\': '\\', 's': ' ', '"': '"', '\'': '\''}

func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if c, ok := escapes[s[i+1]]; ok {
				out.WriteByte(c)
				i++
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
