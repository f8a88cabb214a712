package image

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// tree is an opened clone: a private read-only mount over a read-only loop device.
type tree struct {
	mounted *mount.Tree
	loop    *mount.Loop
	views   mount.Views
	name    string
}

// Open mounts a clone privately and read-only. It was frozen when it was cut, so no journal has to be played.
func (*Provider) Open(ctx context.Context, ref snapshot.Ref) (snapshot.Tree, error) {
	t := &tree{name: ref.Name}
	if err := t.open(ctx, ref); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the clone %s: %w", ref.Name, err), t.Close())
	}
	return t, nil
}

func (t *tree) open(ctx context.Context, ref snapshot.Ref) (err error) {
	if t.views, err = mount.ParseViews(ref.Detail[detailViews]); err != nil {
		return err
	}
	if t.loop, err = mount.AttachLoop(ref.Detail[detailPath], true); err != nil {
		return err
	}
	t.mounted, err = mount.Private(ctx, t.loop.Path, ref.Detail[detailFSType], options(ref.Detail[detailFSType])...)
	return err
}

// options: the live xfs with the same uuid is probably mounted; and xfs refuses a read-only device unless told that there
// is nothing to recover, which is true of a frozen copy.
func options(fstype string) []string {
	if fstype == "xfs" {
		return []string{"ro", "nouuid", "norecovery"}
	}
	return []string{"ro"}
}

// Path is the root of the inner file system.
func (t *tree) Path() string { return t.mounted.Path() }

// Locate turns a real path of the live server into the path in the clone.
func (t *tree) Locate(real string) (string, error) {
	inside, err := t.views.Inside(real)
	if err != nil {
		return "", fmt.Errorf("cannot locate %s in the clone %s: %w", real, t.name, err)
	}
	return filepath.Join(t.Path(), inside), nil
}

// Close unmounts first: the loop device clears itself behind its last user.
func (t *tree) Close() error { return errors.Join(t.mounted.Close(), t.loop.Close()) }
