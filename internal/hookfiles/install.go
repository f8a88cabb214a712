package hookfiles

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/holdstill/holdstill/internal/hook"
)

// Install lays the files of a host on the machine, or tells with dryRun what it would do. It may be repeated, after a kill too.
func (i *Installer) Install(p hook.Personality, program Program, dryRun bool) ([]Change, error) {
	if dryRun {
		made, err := i.plan(p, program)
		if err != nil {
			return nil, err
		}
		return made.changes, nil
	}
	var made *plan
	err := i.exclusively(func() (err error) {
		if made, err = i.plan(p, program); err != nil {
			return err
		}
		if err = i.carryOut(made); err != nil && made.fresh {
			if _, back := i.uninstall(p.Name(), false, false); back != nil {
				return fmt.Errorf("%w; and what was written could not be taken back (%w): type: holdstill hook uninstall %s", err, back, p.Name())
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return made.changes, nil
}

// carryOut does what was planned. What was there is kept, and written down, before anything is changed.
func (i *Installer) carryOut(made *plan) error {
	m := made.manifest
	for _, entry := range m.Files {
		if err := i.keepOriginal(m.Host, entry); err != nil {
			return err
		}
		i.step("kept " + entry.Path)
	}
	if err := i.save(m); err != nil {
		return err
	}
	i.step("written down")
	if err := i.sweep(m); err != nil {
		return err
	}
	for _, d := range made.dirs {
		if err := i.makeDir(d); err != nil {
			return err
		}
	}
	for _, f := range made.files {
		if f.action == None {
			continue
		}
		if err := i.write(f.file.Path, f.file.Content, i.like(f.file.Mode)); err != nil {
			return fmt.Errorf("cannot write %s: %w", f.file.Path, err)
		}
	}
	for _, entry := range slices.Backward(made.gone) {
		if err := i.putBack(m.Host, entry); err != nil {
			return err
		}
	}
	return i.settle(made)
}

// settle forgets what an earlier version wrote.
func (i *Installer) settle(made *plan) error {
	m := made.manifest
	m.Files = slices.DeleteFunc(m.Files, func(f *fileEntry) bool { return slices.Contains(made.gone, f) })
	for _, f := range made.files {
		f.entry.Written = []string{checksum(f.file.Content)}
	}
	return i.save(m)
}

// like is a file of ours.
func (i *Installer) like(mode fs.FileMode) thing {
	return thing{Kind: isFile, Mode: octal(uint32(mode)), UID: i.uid, GID: i.gid}
}

func (i *Installer) owner() string { return name(i.uid, "root") + ":" + name(i.gid, "root") }

func name(id int, zero string) string {
	if id == 0 {
		return zero
	}
	return strconv.Itoa(id)
}
