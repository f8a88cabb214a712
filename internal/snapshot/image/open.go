package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// tree is an opened clone: a private read-only mount over a read-only loop device.
type tree struct {
	mounted *mount.Tree
	loop    *mount.Loop
	image   *os.File // what the loop device reads
	views   mount.Views
	ref     snapshot.Ref
}

var _ snapshot.Brancher = (*tree)(nil)

// Open mounts a clone privately and read-only. If it was frozen when it was cut, no journal has to be played; else that is done in a
// clone of the clone, which has no name and is gone with the tree.
func (*Provider) Open(ctx context.Context, ref snapshot.Ref) (snapshot.Tree, error) {
	t := &tree{ref: ref}
	if err := t.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the clone %s: %w", ref.Name, err), t.Close())
	}
	return t, nil
}

func (t *tree) open(ctx context.Context) (err error) {
	detail := t.ref.Detail
	if t.views, err = mount.ParseViews(detail[detailViews]); err != nil {
		return err
	}
	thawed := detail[detailThawed] != ""
	if thawed {
		err = t.attachCopy(detail[detailPath])
	} else {
		err = t.attach(detail[detailPath])
	}
	if err != nil {
		return err
	}
	t.mounted, err = mount.Private(ctx, t.loop.Path, detail[detailFSType], options(detail[detailFSType], thawed)...)
	return err
}

// Branch mounts a copy that shares the clone's blocks, and can be written to. It has no name, and is gone with its last user.
func (t *tree) Branch(string) undo.Step[snapshot.Tree] {
	deed := undo.NewDeed(Kind, "branch", "copy the clone "+t.ref.Name+" into a file without a name", "", []snapshot.Ref{})
	return undo.Step[snapshot.Tree]{Deed: deed, Act: func(ctx context.Context) (snapshot.Tree, error) {
		b := &tree{ref: t.ref, views: t.views}
		err := b.attachCopy(t.ref.Detail[detailPath])
		if err == nil {
			b.mounted, err = mount.Private(ctx, b.loop.Path, t.ref.Detail[detailFSType], writable(t.ref.Detail[detailFSType])...)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot make a writable copy of the clone %s: %w", t.ref.Name, err), b.Close())
		}
		return b, nil
	}}
}

// attach makes a read-only loop device of the clone itself.
func (t *tree) attach(path string) (err error) {
	if t.image, err = os.Open(path); err != nil {
		return err
	}
	t.loop, err = mount.AttachLoop(path, true)
	return err
}

// attachCopy makes a loop device that can be written to, of a copy that shares the clone's blocks.
func (t *tree) attachCopy(path string) error {
	clone, err := os.Open(path)
	if err != nil {
		return err
	}
	defer clone.Close()
	fd, err := unix.Open(filepath.Dir(path), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot make a file without a name in %s: %w", filepath.Dir(path), err)
	}
	t.image = os.NewFile(uintptr(fd), path)
	if err := copyFlags(fd, int(clone.Fd())); err != nil {
		return err
	}
	if err := unix.IoctlFileClone(fd, int(clone.Fd())); err != nil {
		return fmt.Errorf("cannot copy the clone: %w", err)
	}
	t.loop, err = mount.AttachLoop(fmt.Sprintf("/proc/self/fd/%d", fd), false)
	return err
}

// options: the live xfs with the same uuid is probably mounted; and xfs refuses a read-only device unless told that there
// is nothing to recover, which is true of a frozen copy. A read-only mount of a device that can be written to plays the journal.
func options(fstype string, thawed bool) []string {
	switch {
	case fstype != "xfs":
		return []string{"ro"}
	case thawed:
		return []string{"ro", "nouuid"}
	}
	return []string{"ro", "nouuid", "norecovery"}
}

func writable(fstype string) []string {
	if fstype == "xfs" {
		return []string{"nouuid"}
	}
	return nil
}

// Path is the root of the inner file system.
func (t *tree) Path() string { return t.mounted.Path() }

// Locate turns a real path of the live server into the path in the clone.
func (t *tree) Locate(real string) (string, error) {
	inside, err := t.views.Inside(real)
	if err != nil {
		return "", fmt.Errorf("cannot locate %s in the clone %s: %w", real, t.ref.Name, err)
	}
	return filepath.Join(t.Path(), inside), nil
}

// Image is what the tree is read from: the clone, or the copy of it in which a journal was played.
func (t *tree) Image() *os.File { return t.image }

// Close unmounts first: the loop device clears itself behind its last user.
func (t *tree) Close() error {
	err := errors.Join(t.mounted.Close(), t.loop.Close())
	if t.image != nil {
		err = errors.Join(err, t.image.Close())
	}
	return err
}
