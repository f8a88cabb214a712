package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// Place makes the data directory. It appears under its name complete, synced, and with every name of the original's files rewritten.
func (j *Job) Place(ctx context.Context) error {
	args, err := j.placeArgs()
	if err != nil {
		return err
	}
	title := "make the data directory " + args.Datadir
	return act(ctx, j, deedOf(kindPlace, "place", title, "rm -r "+shellQuoted(args.Datadir), args), func(ctx context.Context) error {
		return j.place(ctx, args)
	})
}

func (j *Job) placeArgs() (placeArgs, error) {
	r, t := j.Plan.Request, j.Plan.world.Target
	a := placeArgs{Datadir: r.Datadir, Run: j.Run.ID, Staging: r.Datadir + ".holdstill-" + j.Run.ID}
	for dir := filepath.Dir(r.Datadir); dir != t.Parent && len(dir) > len(t.Parent); dir = filepath.Dir(dir) {
		a.Made = append(a.Made, dir)
	}
	info, err := os.Lstat(r.Datadir)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	// looked at again: the plan's facts may be old
	if first := firstEntry(r.Datadir); first != "" {
		return a, fmt.Errorf("cannot restore to %s: it is not empty any more: it holds %s", r.Datadir, first)
	}
	if t.direct() || !info.IsDir() {
		a.Staging = ""
	}
	st := info.Sys().(*syscall.Stat_t)
	a.Existed, a.Mode, a.UID, a.GID = true, info.Mode().Perm(), int(st.Uid), int(st.Gid)
	return a, nil
}

// direct tells whether files must be made in the directory itself, because nothing can be renamed over it.
func (t Target) direct() bool { return t.MountPoint || t.Symlink || t.Subvolume }

func (j *Job) place(ctx context.Context, a placeArgs) error {
	dir := a.Staging
	if dir == "" {
		dir = a.Datadir
	}
	if err := os.MkdirAll(filepath.Dir(a.Datadir), 0o755); err != nil {
		return fmt.Errorf("cannot make the directory above %s: %w", a.Datadir, err)
	}
	if err := j.fill(ctx, dir); err != nil {
		return fmt.Errorf("cannot make the data directory: %w", err)
	}
	if err := j.fix(dir); err != nil {
		return fmt.Errorf("cannot make the copy forget its original: %w", err)
	}
	if err := mount.SyncFS(dir); err != nil {
		return fmt.Errorf("cannot sync the data directory: %w", err)
	}
	if a.Staging == "" {
		return nil
	}
	// not os.Rename: that refuses a directory that is there, which the kernel replaces if it is empty
	if err := unix.Rename(a.Staging, a.Datadir); err != nil {
		return fmt.Errorf("cannot put the data directory in its place: %w", err)
	}
	return durable.SyncDir(filepath.Dir(a.Datadir))
}

// fill puts all files into dir, which gets the run's mark before anything else.
func (j *Job) fill(ctx context.Context, dir string) error {
	c := newCopier(j)
	cloned, err := j.clone(ctx, dir)
	if err != nil {
		return err
	}
	if !cloned {
		if j.Plan.How == Clone {
			j.Plan.How = Reflink
			j.Result.How = Reflink
		}
		if err := c.tree(ctx, j.Plan.world.Source.Path, dir, true); err != nil {
			return err
		}
	}
	for _, l := range j.Plan.Links {
		if err := ignoreGone(os.Remove(filepath.Join(dir, l.Name))); err != nil {
			return err
		}
		if err := c.any(ctx, l.Inside, filepath.Join(dir, l.Name)); err != nil {
			return err
		}
	}
	for _, f := range j.Plan.Bring {
		if err := c.any(ctx, f.Path, filepath.Join(dir, filepath.Base(f.Path))); err != nil {
			return err
		}
	}
	j.Result.Bytes = c.copied.Load()
	return nil
}

// clone reports whether the whole data directory could be cloned.
func (j *Job) clone(ctx context.Context, dir string) (bool, error) {
	cloner, ok := j.Plan.world.Source.tree.(snapshot.Cloner)
	if j.Plan.How != Clone || !ok {
		return false, nil
	}
	j.deps.Stage("place", "cloning the data directory to %s", j.Plan.Request.Datadir)
	err := cloner.Clone(ctx, j.Plan.world.Source.Real, dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(dropLeft(dir), mark(dir, j.Run.ID))
}

// dropLeft removes from a clone what a copy would not have taken.
func dropLeft(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		switch {
		case database.Transient(name) || oldMark(name) || d.Type()&fs.ModeSocket != 0:
			return errors.Join(os.RemoveAll(path), skip(d))
		case d.IsDir() && name != "#innodb_temp":
			return fs.SkipDir
		}
		return nil
	})
}

// oldMark is a mark of the run that made the original, if that was restored too.
func oldMark(name string) bool { return strings.HasPrefix(name, markPrefix) }
