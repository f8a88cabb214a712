package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Script is a script that becomes "holdstill hook WORDS... ARGUMENTS". It is POSIX sh and nothing more: some hosts run it with sh,
// whatever its first line says. It execs, so that the host waits for, and kills, the program and no shell before it.
func (s Site) Script(host string, words ...string) []byte {
	return fmt.Appendf(nil, `#!/bin/sh
# Run for every snapshot by %s. Written by "holdstill hook install %s", which writes it again;
# "holdstill hook uninstall %s" puts back what was here before.
exec %s "$@"
`, host, words[0], words[0], s.Command(words...))
}

// Command is the words of "holdstill hook WORDS...", quoted for a shell.
func (s Site) Command(words ...string) string {
	all := []string{s.Binary}
	if s.Config != "" {
		all = append(all, "--config", s.Config)
	}
	all = append(append(all, "hook"), words...)
	for i, word := range all {
		all[i] = Quote(word)
	}
	return strings.Join(all, " ")
}

// Quote makes one word of a POSIX shell of a text.
func Quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=:,@%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Present returns what lies at a path, and its mode; nothing, and the mode that is given, where nothing does.
func (s Site) Present(path string, absent fs.FileMode) ([]byte, fs.FileMode, error) {
	content, err := s.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cannot merge with %s: %w", path, err)
	}
	info, err := s.Stat(path)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot merge with %s: %w", path, err)
	}
	return content, info.Mode().Perm(), nil
}
