package extent

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Partners finds for each regular file below now the one below was that it most likely comes from, both as paths from their root;
// files without one are left out. A snapshot keeps inode numbers, so a file that was renamed is found by its own; else the name
// decides. A wrong partner, as when a file system gives a number anew, costs reading and nothing else: see the package comment.
func Partners(was, now string) (map[string]string, error) {
	byInode := map[uint64]string{}
	names := map[string]bool{}
	err := files(was, func(name string, inode uint64) {
		names[name], byInode[inode] = true, name
	})
	if err != nil {
		return nil, err
	}
	partners := map[string]string{}
	err = files(now, func(name string, inode uint64) {
		if partner, ok := byInode[inode]; ok {
			partners[name] = partner
		} else if names[name] {
			partners[name] = name
		}
	})
	return partners, err
}

func files(root string, each func(name string, inode uint64)) error {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		name, err := filepath.Rel(root, path)
		each(name, st.Ino)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot list the files of %s: %w", root, err)
	}
	return nil
}
