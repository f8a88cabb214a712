package btrfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// tree is an opened snapshot: a private read-only mount of it alone.
type tree struct {
	*mounted
	ref   snapshot.Ref
	views mount.Views
}

var (
	_ snapshot.Cloner   = (*tree)(nil)
	_ snapshot.Brancher = (*tree)(nil)
)

// Open mounts a snapshot privately and read-only.
func (*Provider) Open(ctx context.Context, ref snapshot.Ref) (snapshot.Tree, error) {
	t, err := open(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("cannot open the snapshot %s: %w", ref.Name, err)
	}
	return t, nil
}

func open(ctx context.Context, ref snapshot.Ref) (*tree, error) {
	views, err := mount.ParseViews(ref.Detail[detailViews])
	if err != nil {
		return nil, err
	}
	top, err := openTop(ctx, ref.Detail, "ro")
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return onShelf(ctx, top, ref, views, "ro")
}

// onShelf mounts what lies on the shelf under the ref's name.
func onShelf(ctx context.Context, top *mounted, ref snapshot.Ref, views mount.Views, options ...string) (*tree, error) {
	id, err := idOnShelf(top, ref.Name)
	if err != nil {
		return nil, err
	}
	device, err := deviceOf(ref.Detail[detailUUID], ref.Detail[detailDevice])
	if err != nil {
		return nil, err
	}
	m, err := openMounted(ctx, device, append(options, fmt.Sprintf("subvolid=%d", id))...)
	if err != nil {
		return nil, err
	}
	return &tree{mounted: m, ref: ref, views: views}, nil
}

func idOnShelf(top *mounted, name string) (uint64, error) {
	shelf, err := openShelf(top, false)
	if err != nil {
		return 0, err
	}
	defer shelf.Close()
	dir, err := openDirAt(int(shelf.Fd()), name)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	return subvolumeOf(int(dir.Fd()))
}

// Path is the root of the snapshot.
func (t *tree) Path() string { return t.tree.Path() }

// Locate turns a real path of the live server into the path in the snapshot.
func (t *tree) Locate(real string) (string, error) {
	rel, err := t.inside(real)
	if err != nil {
		return "", fmt.Errorf("cannot locate %s in the snapshot %s: %w", real, t.ref.Name, err)
	}
	return filepath.Join(t.Path(), rel), nil
}

// inside is the path from the root of the subvolume.
func (t *tree) inside(real string) (string, error) {
	subvolume, known := t.ref.Detail[detailSubvolume]
	if !known {
		return "", errors.New("it is not known where its subvolume was")
	}
	fromTop, err := t.views.Inside(real)
	if err != nil {
		return "", err
	}
	rel, ok := mount.Below(subvolume, path.Clean(fromTop))
	if !ok {
		return "", fmt.Errorf("it lay outside of the subvolume %s", subvolume)
	}
	return rel, nil
}

// Clone makes target a writable snapshot of the cut, if real is the root of the subvolume and target would lie on the same file
// system; else it says errors.ErrUnsupported. The target must be absent or an empty directory.
func (t *tree) Clone(ctx context.Context, real, target string) error {
	rel, err := t.inside(real)
	if err != nil {
		return err
	}
	if rel != "" {
		return fmt.Errorf("cannot clone %s: it is a directory within its subvolume: %w", real, errors.ErrUnsupported)
	}
	parent, err := os.Open(filepath.Dir(filepath.Clean(target)))
	if err != nil {
		return err
	}
	defer parent.Close()
	if uuid, err := fsUUID(int(parent.Fd())); err != nil || uuid != t.ref.Detail[detailUUID] {
		return fmt.Errorf("cannot clone to %s: it lies on another file system: %w", target, errors.ErrUnsupported)
	}
	request, err := prepareSnapshot(t.fd(), filepath.Base(target), 0)
	if err != nil {
		return err
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot clone to %s: %w", target, err)
	}
	if err := ioctl(int(parent.Fd()), iocSnapCreateV2, request); err != nil {
		return fmt.Errorf("cannot clone to %s: %w", target, err)
	}
	return nil
}
