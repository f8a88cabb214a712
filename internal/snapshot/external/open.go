package external

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// ErrNotAttached means that nobody said where the host's snapshot is.
var ErrNotAttached = errors.New("nobody said where it is attached")

// tree is a host's snapshot, attached.
type tree struct {
	root    string
	mounted *mount.Tree // nil: it is a directory that somebody else mounted
	loop    *mount.Loop // of an image file
	views   mount.Views
	name    string
}

// Open opens what At has attached, read-only.
func (*Provider) Open(ctx context.Context, ref snapshot.Ref) (snapshot.Tree, error) {
	t := &tree{name: ref.Name}
	if err := t.open(ctx, ref); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the snapshot of %s: %w", ref.Detail[detailMount], err), t.Close())
	}
	return t, nil
}

func (t *tree) open(ctx context.Context, ref snapshot.Ref) (err error) {
	disk := ref.Detail[detailDisk]
	if disk == "" {
		return ErrNotAttached
	}
	if t.views, err = mount.ParseViews(ref.Detail[detailViews]); err != nil {
		return err
	}
	info, err := os.Stat(disk)
	if err != nil {
		return err
	}
	device := disk
	switch {
	case info.IsDir():
		t.root = disk
		return nil
	case info.Mode().IsRegular():
		if t.loop, err = mount.AttachLoop(disk, true); err != nil {
			return err
		}
		device = t.loop.Path
	}
	if t.mounted, err = mount.Private(ctx, device, ref.Detail[detailFSType], options(ref.Detail[detailFSType])...); err != nil {
		return fmt.Errorf("%w (if it was not frozen its journal has to be played: mount a copy of it writable, and name the directory)", err)
	}
	t.root = t.mounted.Path()
	return nil
}

// options: the live xfs of the same uuid is probably mounted, and a frozen copy has nothing to recover.
func options(fstype string) []string {
	if fstype == "xfs" {
		return []string{"ro", "nouuid", "norecovery"}
	}
	return []string{"ro"}
}

// Path is the root of the file system.
func (t *tree) Path() string { return t.root }

// Locate turns a real path of the live server into the path in the snapshot.
func (t *tree) Locate(real string) (string, error) {
	inside, err := t.views.Inside(real)
	if err != nil {
		return "", fmt.Errorf("cannot locate %s in the snapshot %s: %w", real, t.name, err)
	}
	return filepath.Join(t.root, inside), nil
}

// Close unmounts first: the loop device clears itself behind its last user.
func (t *tree) Close() error { return errors.Join(t.mounted.Close(), t.loop.Close()) }
