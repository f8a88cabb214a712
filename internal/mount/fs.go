package mount

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// SyncFS writes out everything dirty on the file system that dir lies on, and waits for it.
func SyncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot sync the file system of %s: %w", dir, err)
	}
	if err := errors.Join(unix.Syncfs(int(f.Fd())), f.Close()); err != nil {
		return fmt.Errorf("cannot sync the file system of %s: %w", dir, err)
	}
	return nil
}

// Free returns the bytes that an unprivileged writer can still use on the file system of dir.
func Free(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("cannot ask for the free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
