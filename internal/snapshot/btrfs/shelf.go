package btrfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

const shelfName = ".holdstill"

// mounted is a private mount with its root directory open for ioctls.
type mounted struct {
	tree *mount.Tree
	root *os.File
}

func openMounted(ctx context.Context, device string, options ...string) (*mounted, error) {
	tree, err := mount.Private(ctx, device, "btrfs", options...)
	if err != nil {
		return nil, err
	}
	root, err := os.Open(tree.Path())
	if err != nil {
		return nil, errors.Join(err, tree.Close())
	}
	return &mounted{tree, root}, nil
}

func (m *mounted) fd() int { return int(m.root.Fd()) }

func (m *mounted) Close() error {
	if m == nil {
		return nil
	}
	return errors.Join(closeFile(m.root), m.tree.Close())
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

// openTop mounts the top level of the file system that a unit or ref tells in its detail.
func openTop(ctx context.Context, detail map[string]string, options ...string) (*mounted, error) {
	uuid := detail[detailUUID]
	device, err := deviceOf(uuid, detail[detailDevice])
	if err != nil {
		return nil, err
	}
	top, err := openMounted(ctx, device, append(options, fmt.Sprintf("subvolid=%d", topLevel))...)
	if err != nil {
		return nil, err
	}
	if now, err := fsUUID(top.fd()); err != nil || now != uuid {
		return nil, errors.Join(fmt.Errorf("%s holds the btrfs %s, not %s", device, now, uuid), err, top.Close())
	}
	return top, nil
}

// deviceOf finds the device that holds the file system: device names change over a reboot.
func deviceOf(uuid, hint string) (string, error) {
	if found, ok := superblockUUID(hint); ok && found == uuid {
		return hint, nil
	}
	table, err := os.ReadFile("/proc/partitions")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) != 4 {
			continue
		}
		if found, ok := superblockUUID("/dev/" + fields[3]); ok && found == uuid {
			return "/dev/" + fields[3], nil
		}
	}
	return "", fmt.Errorf("no device holds the btrfs with the uuid %s (it was on %s)", uuid, hint)
}

// openShelf opens the directory of our snapshots; os.ErrNotExist if there is none and it shall not be made.
func openShelf(top *mounted, make bool) (*os.File, error) {
	if make {
		if err := unix.Mkdirat(top.fd(), shelfName, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("cannot make %s in the top level of the btrfs: %w", shelfName, err)
		}
	}
	return openDirAt(top.fd(), shelfName)
}

func openDirAt(dir int, name string) (*os.File, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func snapshotName(run string, id uint64) string { return fmt.Sprintf("%s-s%d", run, id) }

// parseName is the inverse of snapshotName; a run id may hold dashes, the end behind the last one is ours.
func parseName(name string) (run string, id uint64, ok bool) {
	cut := strings.LastIndex(name, "-s")
	if cut <= 0 {
		return "", 0, false
	}
	id, err := strconv.ParseUint(name[cut+2:], 10, 64)
	return name[:cut], id, err == nil
}

// Find lists the snapshots of ours on the whole file system of the unit, those of its other subvolumes too: their Unit tells.
func (*Provider) Find(ctx context.Context, unit snapshot.Unit, run string) ([]snapshot.Ref, error) {
	refs, err := list(ctx, unit, run)
	if err != nil {
		return nil, fmt.Errorf("cannot list the snapshots beside %s: %w", unit.Why, err)
	}
	return refs, nil
}

func list(ctx context.Context, unit snapshot.Unit, run string) ([]snapshot.Ref, error) {
	top, err := openTop(ctx, unit.Detail, "ro")
	if err != nil {
		return nil, err
	}
	defer top.Close()
	shelf, err := openShelf(top, false)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer shelf.Close()
	names, err := shelf.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var out []snapshot.Ref
	for _, name := range names {
		of, id, ok := parseName(name)
		if ok && (run == "" || run == of) {
			out = append(out, newRef(unit, of, id))
		}
	}
	return out, nil
}

func newRef(unit snapshot.Unit, run string, id uint64) snapshot.Ref {
	detail := map[string]string{}
	for k, v := range unit.Detail {
		detail[k] = v
	}
	if number := strconv.FormatUint(id, 10); number != detail[detailID] {
		detail[detailID] = number
		delete(detail, detailSubvolume) // where that one was is not known here; its catalogue entry tells
	}
	return snapshot.Ref{
		Provider: Name, Name: snapshotName(run, id), Run: run,
		Unit: unitKey(unit.Detail[detailUUID], id), Detail: detail,
	}
}
