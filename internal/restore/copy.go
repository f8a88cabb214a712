package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/sparse"
)

const (
	workers   = 2 // enough for a disk; more would only make it seek
	noCOW     = 0x00800000
	tellEvery = 200 * time.Millisecond
)

// copier copies trees: reflinked where the file systems share blocks, else sparse-aware, byte by byte.
type copier struct {
	job     *Job
	begun   time.Time
	told    atomic.Int64 // when progress was told last, in nanoseconds since begun
	done    atomic.Int64 // bytes of files that are there, shared or copied
	copied  atomic.Int64 // bytes that were written
	noClone atomic.Bool  // reflinking does not work here: do not try with every file
}

func newCopier(j *Job) *copier {
	c := &copier{job: j, begun: time.Now()}
	c.told.Store(int64(-tellEvery)) // the first bytes are news
	c.noClone.Store(j.Plan.How == Copy || j.Plan.How == Fetch)
	return c
}

// tree copies what is in from to the directory to. With top it is the data directory: marked, and without what stays behind.
func (c *copier) tree(ctx context.Context, from, to string, top bool) error {
	if top {
		c.job.deps.Stage("place", "copying the data directory to %s", c.job.Plan.Request.Datadir)
		if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := claim(to, c.job.Run.ID); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	var dirs [][2]string
	err := filepath.WalkDir(from+"/", func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		name := strings.TrimPrefix(path[len(from):], "/")
		if top && (database.Transient(name) || oldMark(name)) {
			return skip(d)
		}
		target := filepath.Join(to, name)
		switch {
		case d.IsDir():
			dirs = append(dirs, [2]string{path, target})
			return ignoreExists(os.Mkdir(target, 0o700))
		case d.Type()&fs.ModeSymlink != 0:
			return c.symlink(path, target, top)
		case d.Type().IsRegular():
			group.Go(func() error { return c.file(ctx, path, target) })
		}
		return nil // sockets and pipes belong to processes
	})
	err = errors.Join(err, group.Wait())
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- { // deepest first: a new file would change its directory's time
		err = attributes(dirs[i][0], dirs[i][1])
	}
	return err
}

func ignoreExists(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// any copies a file or a directory that lay outside.
func (c *copier) any(ctx context.Context, from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return c.file(ctx, from, to)
	}
	if err := ignoreExists(os.Mkdir(to, 0o700)); err != nil {
		return err
	}
	return c.tree(ctx, from, to, false)
}

// symlink copies a link. Those that lead out of the data directory are replaced later; elsewhere none is expected, and none is followed.
func (c *copier) symlink(from, to string, top bool) error {
	if !top {
		return fmt.Errorf("%s is a symlink behind a symlink", from)
	}
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if err := os.Symlink(target, to); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return err
	}
	return chown(to, int(st.Uid), int(st.Gid))
}

func (c *copier) file(ctx context.Context, from, to string) (err error) {
	src, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	if fetcher := c.job.Plan.world.fetcher(from); fetcher != nil {
		if err := c.fetch(ctx, fetcher, from, dst, info.Size()); err != nil {
			return err
		}
	} else if !c.share(src, dst) {
		if err := sparse.Copy(ctx, dst, src, info.Size(), func(n int64) { c.progress(n, n) }); err != nil {
			return fmt.Errorf("cannot copy %s: %w", from, err)
		}
	} else {
		c.progress(blocks(info), 0)
	}
	return attributes(from, to)
}

// fetch lets the tree write the file.
func (c *copier) fetch(ctx context.Context, tree snapshot.Fetcher, from string, dst *os.File, size int64) error {
	if err := dst.Truncate(size); err != nil {
		return err
	}
	return tree.Fetch(ctx, from, dst, func(done int64) { c.progress(done, done) })
}

// share reflinks the file. A file that btrfs must not copy on write (chattr +C) can only share with another such.
func (c *copier) share(src, dst *os.File) bool {
	if c.noClone.Load() {
		return false
	}
	if flags, err := unix.IoctlGetInt(int(src.Fd()), unix.FS_IOC_GETFLAGS); err == nil && flags&noCOW != 0 {
		if own, err := unix.IoctlGetInt(int(dst.Fd()), unix.FS_IOC_GETFLAGS); err == nil {
			_ = unix.IoctlSetPointerInt(int(dst.Fd()), unix.FS_IOC_SETFLAGS, own|noCOW)
		}
	}
	err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.ENOTTY) {
		c.noClone.Store(true)
	}
	return err == nil
}

// progress counts bytes that are there now, and tells them now and then.
func (c *copier) progress(there, written int64) {
	c.copied.Add(written)
	done, now := c.done.Add(there), time.Since(c.begun)
	last := c.told.Load()
	if now-time.Duration(last) < tellEvery || !c.told.CompareAndSwap(last, int64(now)) {
		return
	}
	total := max(c.job.Plan.world.Source.Bytes, done)
	eta := time.Duration(float64(now) * float64(total-done) / float64(done+1))
	c.job.deps.Tell(Event{Stage: "place", Text: "copying", Done: done, Total: total, ETA: eta.Round(time.Second)})
}

// attributes gives a copy the owner, mode, extended attributes and times of its original.
func attributes(from, to string) error {
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil {
		return err
	}
	if err := chown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := os.Chmod(to, fs.FileMode(st.Mode&0o7777&^0o6000)); err != nil {
		return err
	}
	if err := xattrs(from, to); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{st.Atim, st.Mtim}, 0)
}

func xattrs(from, to string) error {
	size, err := unix.Listxattr(from, nil)
	if err != nil || size == 0 {
		return nil // this file system has none
	}
	names := make([]byte, size)
	if size, err = unix.Listxattr(from, names); err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:size]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := unix.Getxattr(from, name, value)
		if err != nil {
			continue // gone, or not ours to read
		}
		err = unix.Setxattr(to, name, value[:n], 0)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("cannot set the attribute %s of %s: %w", name, to, err)
		}
	}
	return nil
}
