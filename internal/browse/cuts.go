package browse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// entryName is the file with the catalogue's entry, as the repository has it too.
const entryName = "holdstill-point.json"

// attributes of everything that is shown.
const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// Cuts are the opened local cuts of a point, by unit.
type Cuts map[string]snapshot.Tree

// Open opens the cuts of a point.
func Open(ctx context.Context, p *catalog.Point, open func(context.Context, snapshot.Ref) (snapshot.Tree, error)) (Cuts, error) {
	c := Cuts{}
	for _, ref := range p.Snapshot.Refs {
		tree, err := open(ctx, ref)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot open the cut %s of point %s: %w", ref.Name, p.ID, err), c.Close())
		}
		c[ref.Unit] = tree
	}
	if len(c) == 0 {
		return nil, fmt.Errorf("point %s has no local cut", p.ID)
	}
	return c, nil
}

// Close lets go of the cuts. What is attached stays.
func (c Cuts) Close() error {
	var all []error
	for _, tree := range c {
		all = append(all, tree.Close())
	}
	return errors.Join(all...)
}

// Piece is a path of the live server that a cut holds.
type Piece struct {
	Real   string
	Unit   string
	inside string // in the tree
	dir    bool
}

// Pieces are the places to attach, parents first. What lies below another piece of the same cut is seen there.
func (c Cuts) Pieces(p *catalog.Point) ([]Piece, error) {
	var out []Piece
	for _, l := range p.Paths {
		tree := c[l.Unit]
		if tree == nil {
			continue // it lay outside of what was cut; the point's warnings say so
		}
		piece, err := locate(tree, l)
		if err != nil {
			return nil, err
		}
		out = append(out, piece)
	}
	slices.SortStableFunc(out, func(a, b Piece) int { return strings.Compare(a.Real, b.Real) })
	var kept []Piece
	for _, piece := range out {
		covers := func(k Piece) bool { return k.Unit == piece.Unit && in(k.Real, piece.Real) }
		if !slices.ContainsFunc(kept, covers) {
			kept = append(kept, piece)
		}
	}
	return kept, nil
}

// locate finds a path in its cut; of a log's base name only the directory exists.
func locate(tree snapshot.Tree, l catalog.Located) (Piece, error) {
	real := l.Place.Real
	for {
		inside, err := tree.Locate(real)
		if err != nil {
			return Piece{}, err
		}
		info, err := os.Stat(inside)
		if err == nil {
			return Piece{real, l.Unit, inside, info.IsDir()}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || real != l.Place.Real {
			return Piece{}, fmt.Errorf("the cut does not hold %s: %w", l.Place.Real, err)
		}
		real = path.Dir(real)
	}
}

// Attach shows the pieces at a directory, read-only, each under its real path, with the point's entry and the option files as they are
// now. Nothing serves it: it stays until it is unmounted. On an error nothing stays.
func (c Cuts) Attach(ctx context.Context, p *catalog.Point, pieces []Piece, dir string) error {
	ground, err := mount.Private(ctx, source, "tmpfs", "mode=0755", "size=64m")
	if err != nil {
		return err
	}
	err = mount.Attach(ground.Path(), dir)
	_ = ground.Close()
	if err != nil {
		return fmt.Errorf("cannot attach to %s: %w", dir, err)
	}
	if err := c.furnish(p, pieces, dir); err != nil {
		return errors.Join(fmt.Errorf("cannot show the cut at %s: %w", dir, err), unix.Unmount(dir, unix.MNT_DETACH))
	}
	return nil
}

func (c Cuts) furnish(p *catalog.Point, pieces []Piece, dir string) error {
	entry, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, entryName), append(entry, '\n'), 0o600); err != nil {
		return err
	}
	if err := optionFiles(p, pieces, dir); err != nil {
		return err
	}
	stages := map[string]string{}
	for _, piece := range pieces {
		from, err := c.stage(piece, dir, stages)
		if err != nil {
			return err
		}
		if err := attach(piece, from, filepath.Join(dir, piece.Real)); err != nil {
			return fmt.Errorf("%s: %w", piece.Real, err)
		}
	}
	for _, at := range stages {
		if err := errors.Join(unix.Unmount(at, unix.MNT_DETACH), os.Remove(at)); err != nil {
			return err
		}
	}
	return unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_set: attributes})
}

// stage gives the path of a piece from which it can be attached: before Linux 6.15 no part of a mount that is attached nowhere can, so that
// is attached whole for a moment.
func (c Cuts) stage(piece Piece, dir string, stages map[string]string) (string, error) {
	root := c[piece.Unit].Path()
	rel, in := mount.Below(root, piece.inside)
	if !strings.HasPrefix(root, "/proc/") || !in {
		return piece.inside, nil
	}
	at, staged := stages[piece.Unit]
	if !staged {
		at = filepath.Join(dir, fmt.Sprintf(".cut-%d", len(stages)))
		if err := os.Mkdir(at, 0o700); err != nil {
			return "", err
		}
		if err := mount.Attach(root, at); err != nil {
			return "", fmt.Errorf("cannot attach the cut: %w", err)
		}
		stages[piece.Unit] = at
	}
	return filepath.Join(at, rel), nil
}

// attach binds one piece below the directory.
func attach(piece Piece, from, to string) error {
	if err := foothold(piece, to); err != nil {
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot take the cut's part: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: attributes}); err != nil {
		return fmt.Errorf("cannot make it read-only: %w", err)
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, to, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// foothold makes what a piece is attached over; inside of another piece it is there.
func foothold(piece Piece, at string) error {
	if _, err := os.Lstat(at); err == nil {
		return nil
	}
	if piece.dir {
		return os.MkdirAll(at, 0o755)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, nil, 0o600))
}

// optionFiles copies those that the server read, where no cut holds them, as the repository does.
func optionFiles(p *catalog.Point, pieces []Piece, dir string) error {
	for _, f := range p.Process.OptionFiles {
		covered := slices.ContainsFunc(pieces, func(piece Piece) bool { return in(piece.Real, f.Path) })
		info, err := os.Stat(f.Path)
		if covered || err != nil || !info.Mode().IsRegular() {
			continue
		}
		content, err := os.ReadFile(f.Path)
		if err != nil {
			return err
		}
		at := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, content, info.Mode().Perm()); err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			if err := os.Lchown(at, int(st.Uid), int(st.Gid)); err != nil {
				return err
			}
		}
	}
	return nil
}
