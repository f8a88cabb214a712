package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is a mounted file system that is attached nowhere. It is gone with Close or with the process, kill -9 included.
type Tree struct {
	fd   *os.File // from fsmount: O_PATH, the root of the mount
	path string
}

// Private mounts source without attaching it to any directory. The options are those of mount(8) for the file system type;
// "ro" also makes this mount itself read-only. Nothing on it is executed, set-uid or a device.
// It needs Linux 5.2 and CAP_SYS_ADMIN. The context is looked at before the mount only: mounting cannot be interrupted.
func Private(ctx context.Context, source, fstype string, options ...string) (*Tree, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fd, err := private(source, fstype, options)
	if err != nil {
		return nil, fmt.Errorf("cannot mount %s privately as %s (%s): %w", source, fstype, strings.Join(options, ","), err)
	}
	// The pid, not "self": others reach the tree through the same path as long as we live.
	return &Tree{fd: os.NewFile(uintptr(fd), source), path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)}, nil
}

func private(source, fstype string, options []string) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(fs)
	if err := configure(fs, source, fstype, options); err != nil {
		return -1, explain(fs, err)
	}
	attributes := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	if slices.Contains(options, "ro") {
		attributes |= unix.MOUNT_ATTR_RDONLY
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return -1, explain(fs, fmt.Errorf("fsmount: %w", err))
	}
	return fd, nil
}

func configure(fs int, source, fstype string, options []string) error {
	if err := unix.FsconfigSetString(fs, "source", source); err != nil {
		return err
	}
	for _, o := range options {
		if o == "ro" && fstype == "btrfs" {
			continue // the superblock is shared with the live mount, which may be writable: only our mount is read-only
		}
		key, value, hasValue := strings.Cut(o, "=")
		var err error
		if hasValue {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return fmt.Errorf("option %s: %w", o, err)
		}
	}
	return unix.FsconfigCreate(fs)
}

// explain adds what the kernel wrote into the context's log ("e message"); there is none in older file systems.
func explain(fs int, err error) error {
	var said []string
	buf := make([]byte, 4096)
	for {
		n, readErr := unix.Read(fs, buf)
		if readErr != nil || n <= 0 {
			break
		}
		said = append(said, strings.TrimSpace(strings.TrimPrefix(string(buf[:n]), "e ")))
	}
	if len(said) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, strings.Join(said, "; "))
}

// Path is the root directory of the tree, for this process and, while this process lives, for others.
func (t *Tree) Path() string { return t.path }

// Close unmounts once nothing on the tree is open any more. Closing twice is no error.
func (t *Tree) Close() error {
	if t == nil {
		return nil
	}
	if err := t.fd.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
