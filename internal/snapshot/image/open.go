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
)

// tree is an opened clone: a private read-only mount over a read-only loop device.
type tree struct {
	mounted *mount.Tree
	loop    *mount.Loop
	image   *os.File // what the loop device reads
	views   mount.Views
	name    string
}

// Open mounts a clone privately and read-only. If it was frozen when it was cut, no journal has to be played; else that is done in a
// clone of the clone, which has no name and is gone with the tree.
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
	thawed := ref.Detail[detailThawed] != ""
	if thawed {
		err = t.attachCopy(ref.Detail[detailPath])
	} else {
		err = t.attach(ref.Detail[detailPath])
	}
	if err != nil {
		return err
	}
	t.mounted, err = mount.Private(ctx, t.loop.Path, ref.Detail[detailFSType], options(ref.Detail[detailFSType], thawed)...)
	return err
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
