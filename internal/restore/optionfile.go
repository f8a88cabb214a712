package restore

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/durable"
)

const optionFileName = "my.cnf"

// OptionFile is the one flattened file that a restored server reads.
type OptionFile struct {
	Head  []string // comments on top
	Lines []Line   // of the server
	Own   []Line   // ours; they come last and win
	// Socket and Port are for clients that are given this file.
	Socket string
	Port   int
	User   string
}

// Set adds or replaces one of our own lines.
func (f *OptionFile) Set(name, value, why string) {
	f.Unset(name)
	f.Own = append(f.Own, Line{Name: name, Value: value, Why: why})
}

// Unset removes what is said about the names.
func (f *OptionFile) Unset(names ...string) {
	f.Own = without(f.Own, names)
	f.Lines = without(f.Lines, names)
}

func without(lines []Line, names []string) []Line {
	var out []Line
	for _, l := range lines {
		if !l.about(names) {
			out = append(out, l)
		}
	}
	return out
}

// Text is the file's content.
func (f *OptionFile) Text() string {
	var b strings.Builder
	for _, h := range f.Head {
		fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(h, "\n", " "))
	}
	fmt.Fprintf(&b, "\n[client]\nsocket = %s\nport = %d\n", quoted(f.Socket), f.Port)
	if f.User != "" {
		fmt.Fprintf(&b, "user = %s\n", quoted(f.User))
	}
	b.WriteString("\n[mysqld]\n")
	for _, l := range f.Lines {
		b.WriteString(l.text())
	}
	b.WriteString("\n# from here on: set by holdstill\n")
	for _, l := range f.Own {
		b.WriteString(l.text())
	}
	return b.String()
}

func (l Line) text() string {
	line := l.Name
	if !l.Bare {
		line += " = " + quoted(l.Value)
	}
	if l.Why != "" {
		return "# " + l.Why + "\n" + line + "\n"
	}
	return line + "\n"
}

// quoted writes a value so that the servers' parser reads it back: it cuts at "#", trims blanks and undoes backslashes.
func quoted(value string) string {
	if strings.IndexFunc(value, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,;@%+=-*", r)
	}) < 0 {
		return value
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(value) + `"`
}

// write replaces the file atomically.
func (f *OptionFile) write(path string) error {
	if err := renameio.WriteFile(path, []byte(f.Text()), 0o644, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("cannot write the option file %s: %w", path, err)
	}
	return durable.SyncDir(filepath.Dir(path))
}
