package hookfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/holdstill/holdstill/internal/durable"
)

const keptPrefix = "kept-"

// Uninstall puts back what was there before, or tells with dryRun what it would do. What somebody else has changed since is left as it
// is, and told, unless force is set. Where nothing is installed there is nothing to do.
func (i *Installer) Uninstall(host string, force, dryRun bool) (changes []Change, err error) {
	if dryRun {
		return i.uninstall(host, force, true)
	}
	err = i.exclusively(func() error {
		changes, err = i.uninstall(host, force, false)
		return err
	})
	return changes, err
}

// uninstall stops for nothing: what cannot be put back keeps the manifest, so that it can be repeated.
func (i *Installer) uninstall(host string, force, dryRun bool) ([]Change, error) {
	m, err := i.load(host)
	if err != nil {
		return nil, err
	}
	if m == nil {
		m = &manifest{Host: host} // an install may have died before it wrote down what it had kept
	}
	if !dryRun {
		if err := i.sweep(m); err != nil {
			return nil, err
		}
	}
	var changes []Change
	var kept []*fileEntry
	var all []error
	for _, entry := range slices.Backward(m.Files) {
		c, err := i.takeAway(host, entry, force, dryRun)
		if c.Action == Keep {
			kept = append(kept, entry)
		}
		changes, all = append(changes, c), append(all, err)
	}
	for _, d := range slices.Backward(m.Dirs) {
		c := Change{Action: Remove, Path: d.Path, Why: "unless something else lies in it"}
		if d.Original.Kind != absent {
			c = Change{Action: Restore, Path: d.Path, Mode: d.Original.Mode, Why: "the mode that it had"}
		}
		changes = append(changes, c)
		if !dryRun {
			all = append(all, i.unmakeDir(d))
		}
	}
	if err := errors.Join(all...); err != nil || dryRun {
		return changes, err
	}
	return changes, i.forget(host, kept)
}

func (i *Installer) takeAway(host string, entry *fileEntry, force, dryRun bool) (Change, error) {
	now, _, err := look(i.at(entry.Path))
	if err != nil {
		return Change{}, fmt.Errorf("cannot look at %s: %w", entry.Path, err)
	}
	c := i.backing(host, entry, now)
	if c.Action == Keep && force && now.Kind != directory && now.Kind != other {
		c.Action, c.Why = Restore, "as it was before; what somebody else has changed since is lost"
		if entry.Original.Kind == absent {
			c.Action = Remove
		}
	}
	if dryRun || c.Action == None || c.Action == Keep {
		return c, nil
	}
	return c, i.putBack(host, entry)
}

// backing is what an uninstall does with one file.
func (i *Installer) backing(host string, entry *fileEntry, now thing) Change {
	o := entry.Original
	c := Change{Action: Restore, Path: entry.Path, Owner: name(o.UID, "root") + ":" + name(o.GID, "root"), Mode: o.Mode, Why: "as it was before"}
	switch {
	case now == o:
		c.Action = None
	case entry.foreign(now):
		c.Action, c.Owner, c.Mode, c.Why = Keep, "", "", "somebody else has changed it since: see that it calls nothing that is gone"
		if o.Kind == isFile {
			c.Why += "; what was there before is kept in " + i.keptPath(host, entry)
		}
	case o.Kind == absent:
		c.Action, c.Owner, c.Why = Remove, "", "there was nothing before"
	}
	return c
}

// forget removes what was kept, but for the originals of files that were left as they are, and the manifest last: until then the
// uninstall can be repeated.
func (i *Installer) forget(host string, kept []*fileEntry) error {
	dir := i.dir(host)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range kept {
		if entry.Original.Kind != isFile {
			continue
		}
		again := os.Link(filepath.Join(dir, entry.Original.SHA256), i.keptPath(host, entry))
		if !errors.Is(again, fs.ErrExist) && !errors.Is(again, fs.ErrNotExist) {
			err = errors.Join(err, again)
		}
	}
	if err == nil {
		err = durable.SyncDir(dir)
	}
	for _, e := range entries {
		if err == nil && e.Name() != manifestName && !strings.HasPrefix(e.Name(), keptPrefix) {
			err = os.RemoveAll(filepath.Join(dir, e.Name()))
			i.step("forgot " + e.Name())
		}
	}
	if err == nil {
		err = i.removeManifest(host)
	}
	if err != nil {
		return fmt.Errorf("cannot forget what was installed for %s: %w", host, err)
	}
	return nil
}

func (i *Installer) removeManifest(host string) error {
	dir := i.dir(host)
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, manifestName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	i.step("manifest removed")
	err := os.Remove(dir)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return durable.SyncDir(dir)
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(i.state)
}
