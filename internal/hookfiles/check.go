package hookfiles

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/holdstill/holdstill/internal/hook"
)

// Fault is something that keeps the host from calling us, or lets others than root decide what it calls.
type Fault struct {
	Path   string `json:"path"`
	What   string `json:"what"`
	Remedy string `json:"remedy"`
}

// Check looks at the machine as the host will: every file that it needs is there, says what it has to, and has the owner, the mode and
// the directories that the host asks for; the program is there, too. What somebody has changed is no fault as long as it says what it
// has to: the files are made from what is there now, and merging must have nothing to add.
func (i *Installer) Check(p hook.Personality, program Program) ([]Fault, error) {
	files, err := i.wanted(p, program)
	if err != nil {
		return nil, err
	}
	remedy := "type: holdstill hook install " + p.Name()
	var out []Fault
	seen := map[string]bool{}
	for _, f := range files {
		found, err := i.checkFile(f, remedy)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
		if dir := filepath.Dir(f.Path); !seen[dir] {
			seen[dir] = true
			out = append(out, i.checkDirs(dir, f.DirMode)...)
		}
	}
	return append(out, i.checkProgram(program)...), nil
}

// wanted is what has to lie there, made from what does; and what was installed because of something that is not there any more.
func (i *Installer) wanted(p hook.Personality, program Program) ([]hook.File, error) {
	files, err := p.Files(i.site(program, nil))
	if err != nil {
		return nil, err
	}
	m, err := i.load(p.Name())
	if err != nil || m == nil {
		return files, err
	}
	installed, err := p.Files(i.site(program, m))
	for _, f := range installed {
		if !slices.ContainsFunc(files, func(have hook.File) bool { return have.Path == f.Path }) {
			files = append(files, f)
		}
	}
	return files, err
}

func (i *Installer) checkFile(f hook.File, remedy string) ([]Fault, error) {
	now, content, err := look(i.at(f.Path))
	if err != nil {
		return nil, fmt.Errorf("cannot look at %s: %w", f.Path, err)
	}
	fault := func(remedy, what string, args ...any) Fault { return Fault{f.Path, fmt.Sprintf(what, args...), remedy} }
	switch {
	case now.Kind == absent:
		return []Fault{fault(remedy, "it is not there (%s)", f.Why)}, nil
	case now.Kind != isFile:
		return []Fault{fault("move it away, then "+remedy, "it is a %s, not a file", now.Kind)}, nil
	}
	var out []Fault
	if strings.HasSuffix(f.Path, ".json") && !json.Valid(content) {
		out = append(out, fault(remedy, "it is not valid JSON"))
	} else if !bytes.Equal(content, f.Content) {
		out = append(out, fault(remedy, "it does not say what it has to (%s)", f.Why))
	}
	if now.UID != i.uid && now.UID != 0 {
		out = append(out, fault("type: chown root "+f.Path, "it belongs to user %d, not to root", now.UID))
	}
	if f.Mode&0o022 != 0 { // of a file that was there the mode is left as it is
		out = append(out, fault("type: chmod go-w "+f.Path, "others than root can write to it, and decide what root runs"))
	}
	if mode := octal(uint32(f.Mode)); now.Mode != mode {
		out = append(out, fault("type: chmod "+mode+" "+f.Path, "its mode is %s, not %s", now.Mode, mode))
	}
	return out, nil
}

// checkDirs looks at all directories above: who can write to one of them decides what root runs.
func (i *Installer) checkDirs(dir string, mode fs.FileMode) []Fault {
	var out []Fault
	if now, _, err := look(i.at(dir)); err == nil && mode != 0 && now.Kind == directory && now.Mode != octal(uint32(mode)) {
		out = append(out, Fault{dir, fmt.Sprintf("its mode is %s, not %s", now.Mode, octal(uint32(mode))), "type: chmod " + octal(uint32(mode)) + " " + dir})
	}
	for at := dir; ; at = filepath.Dir(at) {
		out = append(out, writable(at, i.at(at), i.uid)...)
		if at == "/" {
			return out
		}
	}
}

// checkProgram looks at what root will run.
func (i *Installer) checkProgram(program Program) []Fault {
	info, err := os.Stat(program.Binary)
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return []Fault{{program.Binary, "there is no program that can be run", "install it there, or install the hooks from where it is"}}
	}
	var out []Fault
	for at := program.Binary; at != "/"; at = filepath.Dir(at) {
		out = append(out, writable(at, at, i.uid)...)
	}
	return out
}

// writable tells who but root could change a file, or put another in its place. In a sticky directory nobody can but its owner.
func writable(path, at string, owner int) []Fault {
	info, err := os.Stat(at)
	if err != nil {
		return nil // its absence is told where it matters
	}
	var out []Fault
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != owner && st.Uid != 0 {
		out = append(out, Fault{path, fmt.Sprintf("user %d, who owns it, decides what root runs", st.Uid), "type: chown root " + path})
	}
	if info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		out = append(out, Fault{path, "others than root can write to it, and decide what root runs", "type: chmod go-w " + path})
	}
	return out
}
