package image

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The inode flag of chattr(1) +C, from include/uapi/linux/fs.h.
const noCopyOnWrite = 0x00800000

// tryReflink clones the first block of a file into a file without a name, so that nothing can be left behind.
func tryReflink(file string) error {
	source, err := os.Open(file)
	if err != nil {
		return err
	}
	defer source.Close()
	fd, err := unix.Open(filepath.Dir(file), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot make a scratch file: %w", err)
	}
	defer unix.Close(fd)
	if err := copyFlags(fd, int(source.Fd())); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	first := unix.FileCloneRange{Src_fd: int64(source.Fd()), Src_length: uint64(st.Bsize)}
	if err := unix.IoctlFileCloneRange(fd, &first); err != nil {
		return fmt.Errorf("reflink: %w", err)
	}
	return nil
}

// copyFlags gives an empty file the source's no-copy-on-write flag: btrfs clones only between files that agree on checksums,
// and images are often made with chattr +C.
func copyFlags(to, from int) error {
	flags, err := unix.IoctlGetInt(from, unix.FS_IOC_GETFLAGS)
	if err != nil || flags&noCopyOnWrite == 0 {
		return nil // a file system without flags has none to copy
	}
	mine, err := unix.IoctlGetInt(to, unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(to, unix.FS_IOC_SETFLAGS, mine|noCopyOnWrite)
	}
	if err != nil {
		return fmt.Errorf("cannot copy the no-copy-on-write flag: %w", err)
	}
	return nil
}
