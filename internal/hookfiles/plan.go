package hookfiles

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/holdstill/holdstill/internal/hook"
)

// plan is what an install does; it is made without a change.
type plan struct {
	manifest *manifest // as it has to be before the first change
	fresh    bool      // nothing was installed before
	files    []planned
	gone     []*fileEntry // ours that an older version wrote and this one does not want: they are put back
	dirs     []*dirEntry
	changes  []Change
}

type planned struct {
	file   hook.File
	entry  *fileEntry
	action string
}

func (i *Installer) plan(p hook.Personality, program Program) (*plan, error) {
	m, err := i.load(p.Name())
	if err != nil {
		return nil, err
	}
	made := &plan{manifest: m, fresh: m == nil}
	if m == nil {
		made.manifest = &manifest{Host: p.Name()}
	}
	files, err := p.Files(i.site(program, m))
	if err != nil {
		return nil, err
	}
	var changed []string
	for _, f := range files {
		if err := i.planDirs(made, f); err != nil {
			return nil, err
		}
		foreign, err := i.planFile(made, f)
		if err != nil {
			return nil, err
		}
		if foreign {
			changed = append(changed, f.Path)
		}
	}
	more, err := i.planGone(made, files)
	if err != nil {
		return nil, err
	}
	if changed = append(changed, more...); len(changed) > 0 {
		return nil, &ChangedError{Host: p.Name(), Paths: changed}
	}
	return made, nil
}

// planFile decides on one file, and whether somebody else has changed it.
func (i *Installer) planFile(made *plan, f hook.File) (foreign bool, err error) {
	now, _, err := look(i.at(f.Path))
	if err != nil {
		return false, fmt.Errorf("cannot look at %s: %w", f.Path, err)
	}
	if now.Kind == directory || now.Kind == other {
		return false, fmt.Errorf("cannot write %s: there is something that is no file; move it away", f.Path)
	}
	entry := made.manifest.file(f.Path)
	if entry == nil {
		entry = &fileEntry{Path: f.Path, Original: now}
		made.manifest.Files = append(made.manifest.Files, entry)
	} else if entry.foreign(now) {
		return true, nil
	}
	sum, like := checksum(f.Content), i.like(f.Mode)
	action := Update
	switch {
	case now.Kind == absent:
		action = Create
	case now.Kind == isFile && now.SHA256 == sum && now == (thing{isFile, sum, "", like.Mode, like.UID, like.GID}):
		action = None
	case now.Kind == isFile && now.SHA256 == sum:
		action = Repair
	case !entry.ours(now):
		action = Replace
	}
	if !slices.Contains(entry.Written, sum) {
		entry.Written = append(entry.Written, sum)
	}
	made.files = append(made.files, planned{f, entry, action})
	made.changes = append(made.changes, Change{
		Action: action, Path: f.Path, Owner: i.owner(), Mode: like.Mode, Why: f.Why, Content: string(f.Content), Register: f.Register,
	})
	return false, nil
}

// planDirs decides on the directories above a file.
func (i *Installer) planDirs(made *plan, f hook.File) error {
	dir := filepath.Dir(f.Path)
	var missing []string
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(i.at(at))
		if err == nil && !info.IsDir() {
			return fmt.Errorf("cannot write %s: %s is no directory", f.Path, at)
		}
		if err == nil || at == "/" {
			break
		}
		missing = append(missing, at)
	}
	for _, at := range slices.Backward(missing) {
		mode := fs.FileMode(0o755)
		if at == dir && f.DirMode != 0 {
			mode = f.DirMode
		}
		i.planDir(made, &dirEntry{Path: at, Original: thing{Kind: absent}, Mode: octal(uint32(mode))}, Make, f)
	}
	if len(missing) > 0 || f.DirMode == 0 {
		return nil
	}
	now, _, err := look(i.at(dir))
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", dir, err)
	}
	if now.Mode != octal(uint32(f.DirMode)) {
		i.planDir(made, &dirEntry{Path: dir, Original: now, Mode: octal(uint32(f.DirMode))}, Repair, f)
	}
	return nil
}

func (i *Installer) planDir(made *plan, d *dirEntry, action string, f hook.File) {
	if slices.ContainsFunc(made.dirs, func(have *dirEntry) bool { return have.Path == d.Path }) {
		return
	}
	made.dirs = append(made.dirs, d)
	if known := made.manifest.dir(d.Path); known != nil {
		known.Mode = d.Mode // what was there first stays the original
	} else {
		made.manifest.Dirs = append(made.manifest.Dirs, d)
	}
	made.changes = append(made.changes, Change{Action: action, Path: d.Path, Owner: i.owner(), Mode: d.Mode, Why: "the directory of " + filepath.Base(f.Path)})
}

// planGone finds what an earlier version wrote and this one does not.
func (i *Installer) planGone(made *plan, files []hook.File) (changed []string, err error) {
	for _, entry := range made.manifest.Files {
		if slices.ContainsFunc(files, func(f hook.File) bool { return f.Path == entry.Path }) {
			continue
		}
		now, _, err := look(i.at(entry.Path))
		if err != nil {
			return nil, fmt.Errorf("cannot look at %s: %w", entry.Path, err)
		}
		if entry.foreign(now) {
			changed = append(changed, entry.Path)
			continue
		}
		made.gone = append(made.gone, entry)
		made.changes = append(made.changes, i.backing(made.manifest.Host, entry, now))
	}
	return changed, nil
}
