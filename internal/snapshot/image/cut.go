package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// leastFree is the space in bytes that must be free beside an image, or a twentieth of the image, whichever is more.
const leastFree = 64 << 20

// part is the prepared clone of one image.
type part struct {
	ref         snapshot.Ref
	source      *os.File
	destination *os.File // has no name until Settle, so the kernel removes it if we are killed before
}

type cut struct {
	provider *Provider
	parts    []*part
	refs     []snapshot.Ref
}

// Prepare makes the empty clones, without names, and writes out what is dirty, inner file system first, so that little is left for the window.
func (p *Provider) Prepare(ctx context.Context, run string, units []snapshot.Unit) (snapshot.Cut, error) {
	c := &cut{provider: p}
	for _, unit := range units {
		prepared := &part{ref: newRef(unit, run)}
		c.parts = append(c.parts, prepared)
		if err := prepared.open(ctx, unit); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot prepare a clone of the %s: %w", unit.Why, err), c.Close())
		}
		c.refs = append(c.refs, prepared.ref)
	}
	return c, nil
}

func (p *part) open(ctx context.Context, unit snapshot.Unit) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	backing := unit.Detail[detailBacking]
	if err := sameFile(unit.Detail[detailDevice], backing); err != nil {
		return err
	}
	if p.source, err = os.Open(backing); err != nil {
		return err
	}
	if err := checkSpace(p.source); err != nil {
		return err
	}
	if err := p.create(); err != nil {
		return err
	}
	if err := mount.SyncFS(unit.Sync); err != nil {
		return err
	}
	if err := p.source.Sync(); err != nil {
		return fmt.Errorf("cannot sync the image %s: %w", backing, err)
	}
	return nil
}

// checkSpace refuses while little is left on the outer file system. A clone takes no space, but from then on each block that the
// server overwrites in the image does, and when there is none the live file system inside gets I/O errors.
func checkSpace(image *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(image.Fd()), &st); err != nil {
		return err
	}
	need := max(leastFree, uint64(st.Blocks)*512/20)
	free, err := mount.Free(filepath.Dir(image.Name()))
	if err == nil && free < need {
		err = fmt.Errorf("only %d MiB are free beside the image, and at least %d should be: what the server overwrites after the cut takes "+
			"new space, and without it the live file system would get i/o errors", free>>20, need>>20)
	}
	return err
}

// create makes the empty clone.
func (p *part) create() error {
	dir := filepath.Dir(p.ref.Detail[detailPath])
	if err := durable.MakeDir(dir); err != nil {
		return err
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot make a file without a name in %s: %w", dir, err)
	}
	p.destination = os.NewFile(uintptr(fd), p.ref.Detail[detailPath])
	return copyFlags(fd, int(p.source.Fd()))
}

// Step is one FICLONE a unit; the inner file systems must be frozen by then.
func (c *cut) Step() undo.Step[[]snapshot.Ref] {
	var names, manual []string
	for _, p := range c.parts {
		names = append(names, "the image "+p.ref.Detail[detailBacking])
		manual = append(manual, "rm -f "+quote(p.ref.Detail[detailPath]))
	}
	deed := undo.NewDeed(Kind, "cut", "clone "+strings.Join(names, " and "), strings.Join(manual, "; "), c.refs)
	deed.UntilCommit = true
	return undo.Step[[]snapshot.Ref]{Deed: deed, Act: c.act, Undo: func(ctx context.Context) error {
		return errors.Join(c.Close(), c.provider.destroyAll(ctx, c.refs))
	}}
}

func (c *cut) act(ctx context.Context) ([]snapshot.Ref, error) {
	for _, p := range c.parts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := unix.IoctlFileClone(int(p.destination.Fd()), int(p.source.Fd())); err != nil {
			return nil, fmt.Errorf("cannot clone the image %s: %w", p.ref.Detail[detailBacking], err)
		}
	}
	return c.refs, nil
}

// Settle makes the clones durable and read-only, and gives them their names.
func (c *cut) Settle(context.Context) error {
	for _, p := range c.parts {
		if err := p.settle(); err != nil {
			return fmt.Errorf("cannot make the clone %s durable: %w", p.ref.Name, err)
		}
	}
	return nil
}

func (p *part) settle() error {
	if err := errors.Join(p.destination.Chmod(0o400), p.destination.Sync()); err != nil {
		return err
	}
	path := p.ref.Detail[detailPath]
	self := fmt.Sprintf("/proc/self/fd/%d", p.destination.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: self, New: path, Err: err}
	}
	return durable.SyncDir(filepath.Dir(path))
}

// Close closes what Prepare opened. Clones that have no name yet are gone with it.
func (c *cut) Close() error {
	var all []error
	for _, p := range c.parts {
		all = append(all, closeFile(p.source), closeFile(p.destination))
	}
	return errors.Join(all...)
}

func closeFile(f *os.File) error {
	if f == nil {
		return nil
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Undoer removes the clones of a run that never committed.
func Undoer(ctx context.Context, d undo.Deed) error {
	var refs []snapshot.Ref
	if err := json.Unmarshal(d.Args, &refs); err != nil {
		return fmt.Errorf("cannot read the deed: %w", err)
	}
	return New().destroyAll(ctx, refs)
}

func (p *Provider) destroyAll(ctx context.Context, refs []snapshot.Ref) error {
	var all []error
	for _, ref := range refs {
		all = append(all, p.Destroy(ctx, ref))
	}
	return errors.Join(all...)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
