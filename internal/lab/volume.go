package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Volume is a file system of its own, mounted at Dir, on a loop device over the sparse file Image.
type Volume struct {
	Dir, Device, Image, FS string
}

// Btrfs makes a btrfs volume at dir/name.
func (l *Lab) Btrfs(ctx context.Context, name string, bytes int64) (*Volume, error) {
	return l.FS(ctx, name, "btrfs", bytes)
}

// FS makes a volume with an xfs (with reflinks), ext4 or btrfs file system at dir/name.
func (l *Lab) FS(ctx context.Context, name, fs string, bytes int64) (*Volume, error) {
	return l.volume(ctx, name, fs, filepath.Join(l.dir, "images", name+".img"), bytes)
}

// ImageOn makes a volume at dir/name whose image lies on another volume, as the disk of a virtual machine lies on its host.
func (l *Lab) ImageOn(ctx context.Context, outer *Volume, name, innerFS string, bytes int64) (*Volume, error) {
	return l.volume(ctx, name, innerFS, filepath.Join(outer.Dir, name+".img"), bytes)
}

func mkfs(fs, image string) ([]string, error) {
	switch fs {
	case "btrfs":
		return []string{"mkfs.btrfs", "-q", image}, nil
	case "xfs":
		return []string{"mkfs.xfs", "-q", "-m", "reflink=1", image}, nil
	case "ext4":
		return []string{"mkfs.ext4", "-q", "-F", image}, nil
	}
	return nil, fmt.Errorf("a lab knows btrfs, xfs and ext4, not %q", fs)
}

func (l *Lab) volume(ctx context.Context, name, fs, image string, bytes int64) (*Volume, error) {
	v, err := l.makeVolume(ctx, name, fs, image, bytes)
	if err != nil {
		return nil, fmt.Errorf("cannot make the %s volume %s: %w", fs, name, err)
	}
	return v, nil
}

func (l *Lab) makeVolume(ctx context.Context, name, fs, image string, bytes int64) (*Volume, error) {
	format, err := mkfs(fs, image)
	if err != nil {
		return nil, err
	}
	dir, err := l.take(name)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := sparse(image, bytes); err != nil {
		return nil, err
	}
	if _, err := run(ctx, format[0], format[1:]...); err != nil {
		return nil, err
	}
	v := &Volume{Dir: dir, Image: image, FS: fs}
	return v, v.attach(ctx)
}

// attach mounts the image, of which the loop goes with the mount, whoever unmounts it.
func (v *Volume) attach(ctx context.Context) error {
	// No direct-io on the loop: it halves the write speed and proves nothing more.
	device, err := run(ctx, "losetup", "--find", "--show", v.Image)
	if err != nil {
		return err
	}
	v.Device = device
	if _, err := run(ctx, "mount", "-o", "noatime", device, v.Dir); err != nil {
		_, _ = run(ctx, "losetup", "--detach", device)
		return err
	}
	// Detaching a device in use marks it for autoclear.
	_, err = run(ctx, "losetup", "--detach", device)
	return err
}

func sparse(image string, bytes int64) error {
	if err := os.MkdirAll(filepath.Dir(image), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Truncate(bytes); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
