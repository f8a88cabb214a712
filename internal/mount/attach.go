package mount

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Attach puts a mount that is attached nowhere, as Private makes them, at a directory: tree is the path of its root. From then on it lives
// without its maker, until Detach.
func Attach(tree, dir string) error {
	fd, err := unix.Open(tree+"/.", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot attach a mount to %s: %w", dir, err)
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("cannot attach a mount to %s: %w", dir, err)
	}
	return nil
}

// Overlay mounts at dir what is in lower, writable: what is written goes to upper. A file comes there whole when it is first opened for
// writing. upper and work are two empty directories of one file system, which must be no overlay itself; dir must not lie in them.
func Overlay(lower, upper, work, dir string) error {
	escaped := strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(lower) // several lower directories would be parted by colons
	tree, err := private("overlay", "overlay", []string{"lowerdir=" + escaped, "upperdir=" + upper, "workdir=" + work})
	if err != nil {
		return fmt.Errorf("cannot mount a writable layer over %s, with %s: %w", lower, upper, err)
	}
	defer unix.Close(tree)
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("cannot attach a writable layer to %s: %w", dir, err)
	}
	return nil
}

// Detach takes all that is mounted at a directory away from it; a process that still has files of it open keeps them. It is no error if
// nothing is mounted there, or nothing is there.
func Detach(dir string) error {
	for {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil
		case err != nil:
			return fmt.Errorf("cannot unmount %s: %w", dir, err)
		}
	}
}
