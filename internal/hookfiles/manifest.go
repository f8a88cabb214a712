package hookfiles

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/durable"
)

const manifestName = "manifest.json"

// manifest is all that an install of one host touches, in the order in which it is written.
type manifest struct {
	Host  string       `json:"host"`
	Files []*fileEntry `json:"files"`
	Dirs  []*dirEntry  `json:"dirs"` // those above come first
}

type fileEntry struct {
	Path     string   `json:"path"`
	Original thing    `json:"original"`
	Written  []string `json:"written"` // checksums of what we wrote, or may have
}

type dirEntry struct {
	Path     string `json:"path"`
	Original thing  `json:"original"`
	Mode     string `json:"mode"` // that we gave it
}

func (m *manifest) file(path string) *fileEntry {
	if m == nil {
		return nil
	}
	if i := slices.IndexFunc(m.Files, func(f *fileEntry) bool { return f.Path == path }); i >= 0 {
		return m.Files[i]
	}
	return nil
}

func (m *manifest) dir(path string) *dirEntry {
	if i := slices.IndexFunc(m.Dirs, func(d *dirEntry) bool { return d.Path == path }); i >= 0 {
		return m.Dirs[i]
	}
	return nil
}

// foreign reports whether what lies there is neither what was there before nor ours. Nothing at all is nobody's work that could be lost.
func (f *fileEntry) foreign(now thing) bool {
	return now.Kind != absent && !now.same(f.Original) && !f.ours(now)
}

func (f *fileEntry) ours(now thing) bool {
	return now.Kind == isFile && slices.Contains(f.Written, now.SHA256)
}

func (i *Installer) dir(host string) string { return filepath.Join(i.state, host) }

func (i *Installer) manifestPath(host string) string {
	return filepath.Join(i.dir(host), manifestName)
}

// load returns nil where nothing is installed.
func (i *Installer) load(host string) (*manifest, error) {
	content, err := os.ReadFile(i.manifestPath(host))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	m := &manifest{}
	if err == nil {
		err = json.Unmarshal(content, m)
	}
	if err == nil && m.Host != host {
		err = fmt.Errorf("it is of the host %q", m.Host)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what is installed for %s (%s): %w", host, i.manifestPath(host), err)
	}
	return m, nil
}

func (i *Installer) save(m *manifest) error {
	content, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = i.put(m.Host, manifestName, append(content, '\n'))
	}
	if err != nil {
		return fmt.Errorf("cannot write down what is installed: %w", err)
	}
	return nil
}

// keepOriginal puts the content of a file aside, under its checksum.
func (i *Installer) keepOriginal(host string, f *fileEntry) error {
	if f.Original.Kind != isFile {
		return nil
	}
	if _, err := os.Stat(filepath.Join(i.dir(host), f.Original.SHA256)); err == nil {
		return nil // names there are made after the content is synced
	}
	now, content, err := look(i.at(f.Path))
	if err == nil && !now.same(f.Original) {
		err = errors.New("it is not what it was a moment ago; try again")
	}
	if err == nil {
		err = i.put(host, f.Original.SHA256, content)
	}
	if err != nil {
		return fmt.Errorf("cannot keep %s: %w", f.Path, err)
	}
	return nil
}

func (i *Installer) put(host, name string, content []byte) error {
	dir := i.dir(host)
	if err := durable.MakeDir(dir); err != nil {
		return err
	}
	if err := sweepTemporary(dir, name); err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, name), content, 0o600, renameio.WithTempDir(dir)); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// original returns the content of a file as it was; through a link it is what is there now, which nobody has touched.
func (i *Installer) original(host string, f *fileEntry) ([]byte, error) {
	switch f.Original.Kind {
	case isLink:
		return os.ReadFile(i.at(f.target()))
	case isFile:
		content, err := os.ReadFile(filepath.Join(i.dir(host), f.Original.SHA256))
		if errors.Is(err, fs.ErrNotExist) { // an uninstall that left the file as it was may have died at its end
			content, err = os.ReadFile(i.keptPath(host, f))
		}
		if errors.Is(err, fs.ErrNotExist) { // or one that had put it back
			_, content, err = look(i.at(f.Path))
		}
		if err == nil && checksum(content) != f.Original.SHA256 {
			err = errors.New("what was kept of it is gone or damaged")
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the original of %s: %w", f.Path, err)
		}
		return content, nil
	}
	return nil, &fs.PathError{Op: "open", Path: f.Path, Err: fs.ErrNotExist}
}

// target is where an original that is a link leads.
func (f *fileEntry) target() string {
	if filepath.IsAbs(f.Original.Target) {
		return f.Original.Target
	}
	return filepath.Join(filepath.Dir(f.Path), f.Original.Target)
}

// keptPath is where the original of a file goes that somebody else has changed since: it outlives the uninstall.
func (i *Installer) keptPath(host string, f *fileEntry) string {
	return filepath.Join(i.dir(host), keptPrefix+filepath.Base(f.Path)+"-"+f.Original.SHA256[:12])
}
