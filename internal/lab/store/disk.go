package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/lab"
)

// Disk is a small file system of its own, for a repository in a directory that runs out of room.
type Disk struct {
	Dir string // where it is mounted

	lab *lab.Lab
}

// NewDisk makes an ext4 file system of that size, 8 MiB at least, in a lab of its own at dir/full, which must not exist. Close, or the
// end of this process, takes it away with all that is on it.
func NewDisk(dir string, bytes int64) (*Disk, error) {
	l, err := lab.New(filepath.Join(dir, "full"))
	if err != nil {
		return nil, err
	}
	v, err := l.FS(context.Background(), "disk", "ext4", bytes)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return &Disk{Dir: v.Dir, lab: l}, nil
}

// Free is how many bytes root can still write.
func (d *Disk) Free() (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(d.Dir, &s); err != nil {
		return 0, fmt.Errorf("cannot ask %s for its room: %w", d.Dir, err)
	}
	return int64(s.Bfree) * s.Bsize, nil
}

// Fill leaves only about so many bytes free, by a file of its own, until the next Fill; with more than there are it goes away.
func (d *Disk) Fill(leave int64) error {
	file := filepath.Join(d.Dir, ".filled")
	if err := os.RemoveAll(file); err != nil {
		return err
	}
	free, err := d.Free()
	if err != nil || free <= leave {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, free-leave); err != nil {
		return fmt.Errorf("cannot fill %s but for %d bytes: %w", d.Dir, leave, err)
	}
	return f.Sync()
}

// Close takes the file system away.
func (d *Disk) Close() error { return d.lab.Close() }
