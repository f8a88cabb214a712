package tables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/sparse"
	"github.com/holdstill/holdstill/internal/swap"
)

// place copies files of the scratch server's table into the staging's directory, where the table has another name, and syncs them. They are the
// server's there, in owner and mode. It returns their new names. Both directories are of servers, which may be in a stranger's hands, and we
// are root: no link of theirs leads us out of them.
func (j *job) place(ctx context.Context, s *scratch, files []string, from, to string) (placed []string, bytes int64, err error) {
	source, err := inside(j.source.Datadir, s.exports)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = source.Close() }()
	staging, err := j.stagingDir()
	if err != nil {
		return nil, 0, fmt.Errorf("the live server's data directory is not the one here: %w", err)
	}
	defer func() { _ = staging.Close() }()
	for _, f := range files {
		base := filepath.Base(f)
		target := to + base[len(from):]
		if filepath.Ext(target) == ".ibd" {
			target += veil
		}
		n, err := copyFile(ctx, source, base, staging, target)
		bytes += n
		if err != nil {
			return placed, bytes, fmt.Errorf("cannot copy %s to %s: %w", f, filepath.Join(staging.Name(), target), err)
		}
		placed = append(placed, target)
		if j.deps.Progress != nil {
			j.deps.Progress(base, n, n)
		}
	}
	return placed, bytes, syncRoot(staging)
}

// stagingDir opens the directory of the staging.
func (j *job) stagingDir() (*os.Root, error) { return inside(j.live.Datadir, j.staging.Schema) }

// inside opens a schema's directory; a link that leads out of the data directory is an error.
func inside(datadir, name string) (*os.Root, error) {
	root, err := os.OpenRoot(datadir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return root.OpenRoot(swap.Directory(name))
}

func syncRoot(r *os.Root) error {
	d, err := r.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// copyFile makes target a copy of a file: with shared blocks where the file systems have that, else by copying its data, not its holes. What has
// the name goes: it is an empty table's file, or a trap.
func copyFile(ctx context.Context, source *os.Root, file string, staging *os.Root, target string) (n int64, err error) {
	in, err := source.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not keep us
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is no regular file (%s)", info.Mode())
	}
	if err != nil {
		return 0, err
	}
	dir, err := staging.Stat(".")
	if err != nil {
		return 0, err
	}
	owner := dir.Sys().(*syscall.Stat_t)
	if err := staging.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	out, err := staging.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		if err := sparse.Copy(ctx, out, in, info.Size(), nil); err != nil {
			return 0, err
		}
	}
	if os.Geteuid() == 0 {
		err = out.Chown(int(owner.Uid), int(owner.Gid))
	}
	return info.Size(), errors.Join(err, out.Chmod(info.Mode().Perm()|0o600), out.Sync())
}

// veil stands behind the names of InnoDB's files until they are imported. Such a file bears the number of its table in the point, which the live
// server's own table has too, as a rule. A server that starts after a crash and finds two files with one number does not come up.
const veil = ".copied"

// unveil gives the placed files their names. The import, which comes at once, gives them a number of the live server's first of all.
func (j *job) unveil(placed []string) ([]string, error) {
	staging, err := j.stagingDir()
	if err != nil {
		return placed, err
	}
	defer func() { _ = staging.Close() }()
	out := slices.Clone(placed)
	for i, name := range placed {
		if plain, veiled := strings.CutSuffix(name, veil); veiled {
			if err := staging.Rename(name, plain); err != nil {
				return placed, err
			}
			out[i] = plain
		}
	}
	return out, nil
}

// remove removes those of the staging's files that have one of the extensions; the server may have done so.
func (j *job) remove(names []string, extensions ...string) error {
	if len(names) == 0 {
		return nil
	}
	staging, err := j.stagingDir()
	if err != nil {
		return err
	}
	defer func() { _ = staging.Close() }()
	var all []error
	for _, name := range names {
		if slices.Contains(extensions, strings.ToLower(filepath.Ext(name))) {
			if err := staging.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				all = append(all, err)
			}
		}
	}
	return errors.Join(all...)
}
