package extent

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
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

// files goes through an fs.FS, which follows the root: a private mount is reached through a link in /proc.
func files(root string, each func(name string, inode uint64)) error {
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		each(name, info.Sys().(*syscall.Stat_t).Ino)
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot list the files of %s: %w", root, err)
	}
	return nil
}
