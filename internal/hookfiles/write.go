package hookfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/durable"
)

// write puts a file in its place at once: whoever looks meanwhile, and a power cut, find the one before or this one.
func (i *Installer) write(path string, content []byte, as thing) error {
	at := i.at(path)
	f, err := renameio.NewPendingFile(at, renameio.WithTempDir(temporaryDir(at)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil { // the owner first: a change of it takes setuid away
		err = errors.Join(f.Chown(as.UID, as.GID), f.Chmod(as.mode()))
	}
	if err != nil {
		return errors.Join(err, f.Cleanup())
	}
	i.step("written aside " + path)
	if err := f.CloseAtomicallyReplace(); err != nil {
		return errors.Join(err, f.Cleanup())
	}
	i.step("renamed " + path)
	return durable.SyncDir(filepath.Dir(at))
}

// putBack makes a path what it was.
func (i *Installer) putBack(host string, f *fileEntry) error {
	at := i.at(f.Path)
	var err error
	switch f.Original.Kind {
	case absent:
		if err = os.Remove(at); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		i.step("removed " + f.Path)
	case isLink:
		if err = renameio.Symlink(f.Original.Target, at); err == nil {
			err = os.Lchown(at, f.Original.UID, f.Original.GID)
		}
	default:
		var content []byte
		if content, err = i.original(host, f); err == nil {
			err = i.write(f.Path, content, f.Original)
		}
	}
	if err == nil {
		err = sync(filepath.Dir(at))
	}
	if err != nil {
		return fmt.Errorf("cannot put back %s: %w", f.Path, err)
	}
	return nil
}

// sync is durable.SyncDir for a directory that may be gone.
func sync(dir string) error {
	if err := durable.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// temporaryDir is where a file is written before it has its name. Hosts run whatever lies in a directory like backupScripts.d, also what
// a killed install has left there.
func temporaryDir(at string) string {
	dir := filepath.Dir(at)
	if strings.HasSuffix(dir, ".d") {
		return filepath.Dir(dir)
	}
	return dir
}

// sweep removes what a killed install or uninstall has left beside the files.
func (i *Installer) sweep(m *manifest) error {
	for _, f := range m.Files {
		at := i.at(f.Path)
		for _, dir := range []string{temporaryDir(at), filepath.Dir(at)} { // a link is made in its own directory
			if err := sweepTemporary(dir, filepath.Base(at)); err != nil {
				return fmt.Errorf("cannot remove what was left beside %s: %w", f.Path, err)
			}
		}
	}
	return nil
}

// sweepTemporary removes what a killed process has left of a file of this name: renameio adds a dot and a number.
func sweepTemporary(dir, base string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		number, is := strings.CutPrefix(e.Name(), "."+base)
		if is && number != "" && strings.Trim(number, "0123456789") == "" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// makeDir makes a directory, or gives one its mode.
func (i *Installer) makeDir(d *dirEntry) error {
	at := i.at(d.Path)
	wanted := thing{Mode: d.Mode}
	err := os.Mkdir(at, wanted.mode()) // at once with its mode: a kill may come before the next line
	if err == nil {
		i.step("made " + d.Path)
		err = os.Chown(at, i.uid, i.gid)
	} else if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err == nil {
		err = errors.Join(os.Chmod(at, wanted.mode()), durable.SyncDir(filepath.Dir(at)))
	}
	if err != nil {
		return fmt.Errorf("cannot make the directory %s: %w", d.Path, err)
	}
	return nil
}

// unmakeDir removes a directory that we made, if nothing else came to lie in it, and gives one that was there its mode back.
func (i *Installer) unmakeDir(d *dirEntry) error {
	at := i.at(d.Path)
	now, _, err := look(at)
	if err != nil || now.Kind == absent {
		return err
	}
	if d.Original.Kind != absent {
		if now.Mode != d.Mode {
			return nil
		}
		return os.Chmod(at, d.Original.mode())
	}
	err = os.Remove(at)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return nil
	}
	i.step("unmade " + d.Path)
	if err == nil {
		err = durable.SyncDir(filepath.Dir(at))
	}
	if err != nil {
		return fmt.Errorf("cannot remove the directory %s: %w", d.Path, err)
	}
	return nil
}
