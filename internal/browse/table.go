package browse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
)

// ErrRefused means that a directory cannot be mounted at, and nothing was changed.
var ErrRefused = errors.New("refused")

// Resolve makes a directory's path absolute and real without touching the directory itself: a dead mount answers nothing.
func Resolve(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if errors.Is(err, os.ErrNotExist) {
		return abs, nil
	}
	if err != nil {
		return "", err
	}
	real := filepath.Join(parent, filepath.Base(abs))
	if ours, err := At(real); err != nil || ours != nil {
		return real, err
	}
	if target, err := filepath.EvalSymlinks(real); err == nil {
		return target, nil
	}
	return real, nil
}

// under lists the mounts at a directory and below it, in the order in which they were made.
func under(dir string) ([]*mountinfo.Info, error) {
	return mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		_, in := mount.Below(dir, m.Mountpoint)
		return !in, false
	})
}

// Mounted is a mount of ours.
type Mounted struct {
	Dir      string
	Stored   bool // from a repository, served by a process; else a local cut
	Complete bool
}

// At tells what of ours is mounted at a directory; nil: nothing.
func At(dir string) (*Mounted, error) {
	all, err := under(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the mounts: %w", err)
	}
	var top *mountinfo.Info
	for _, m := range all {
		if m.Mountpoint == dir {
			top = m
		}
	}
	if top == nil || top.Source != source {
		return nil, nil
	}
	stored := top.FSType != "tmpfs"
	return &Mounted{Dir: dir, Stored: stored, Complete: stored || readOnly(top)}, nil
}

func readOnly(m *mountinfo.Info) bool { return len(m.Options) >= 2 && m.Options[:2] == "ro" }

// Dead tells whether the process that serves a mount is gone. What the kernel has kept of it still looks alive; how much is free is
// always asked.
func (m *Mounted) Dead() bool {
	if !m.Stored {
		return false
	}
	var st unix.Statfs_t
	err := unix.Statfs(m.Dir, &st)
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED) // the second if it dies while it is asked
}

// Prepare makes sure that a directory can be mounted at, and reports whether it made it.
func Prepare(dir string) (made bool, err error) {
	all, err := under(dir)
	if err != nil {
		return false, fmt.Errorf("cannot list the mounts: %w", err)
	}
	for _, m := range all {
		if m.Mountpoint == dir {
			return false, fmt.Errorf("%w: %s (%s) is mounted at %s already", ErrRefused, m.Source, m.FSType, dir)
		}
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := os.Mkdir(dir, 0o755); err != nil {
			return false, fmt.Errorf("cannot make the directory %s: %w", dir, err)
		}
		return true, nil
	case errors.Is(err, unix.ENOTDIR):
		return false, fmt.Errorf("%w: %s is no directory", ErrRefused, dir)
	case err != nil:
		return false, fmt.Errorf("cannot look into %s: %w", dir, err)
	case len(entries) > 0:
		return false, fmt.Errorf("%w: %s is not empty: it holds %s", ErrRefused, dir, entries[0].Name())
	}
	return false, nil
}
