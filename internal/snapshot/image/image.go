// Package image cuts file systems that lie in an image file: ext4 or xfs on a loop device whose backing file lies on a file system
// with reflinks (xfs made with reflink=1, btrfs). It clones the file (FICLONE) while the inner file system is frozen,
// which is exactly what a cloud's disk snapshot does.
//
// The clones are kept beside the image, in .holdstill (mode 0700), as RUN-NAME.img. NAME is the image's name without ".img"; if that
// holds anything but letters, digits, '.' and '_', or is long, or had no ".img", then it is made plain and followed by '.' and the
// first 8 hex digits of the SHA-256 of the image's name. So NAME holds no dash, and what is before the last one is the run.
// A clone has no name (O_TMPFILE) until Settle has made it durable, so a run that is killed before leaves nothing.
package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// Name is the provider's name, Kind the kind of its deeds in the undo registry.
const (
	Name = "image"
	Kind = "snapshot.image"
)

// What Detail holds, in units and refs.
const (
	detailBacking = "backing" // the image file
	detailDevice  = "device"  // its loop device
	detailFSType  = "filesystem"
	detailMount   = "mountpoint"
	detailViews   = "mounts" // mount.Views at the time of the cut
	detailPath    = "path"   // of the clone; in refs only
	detailThawed  = "thawed" // "yes" if the file system was not frozen over the cut; in refs only
)

// Provider clones disk images.
type Provider struct{}

// New returns the provider. It has no state: all there is to know is in units and refs.
func New() *Provider { return &Provider{} }

// Name is "image".
func (*Provider) Name() string { return Name }

// Covers finds the image of a place. It tries a reflink beside the image, with files that have no name.
func (*Provider) Covers(_ context.Context, place mount.Place) (snapshot.Unit, error) {
	unit, err := cover(place)
	if err != nil {
		return snapshot.Unit{}, fmt.Errorf("cannot cut %s as a disk image: %w", place.Path, err)
	}
	return unit, nil
}

func cover(place mount.Place) (snapshot.Unit, error) {
	if place.FSType != "ext4" && place.FSType != "xfs" {
		return snapshot.Unit{}, fmt.Errorf("it lies on %s; the image must hold an ext4 or xfs", place.FSType)
	}
	backing, err := backingFile(place)
	if err != nil {
		return snapshot.Unit{}, err
	}
	if err := tryReflink(backing); err != nil {
		return snapshot.Unit{}, fmt.Errorf("its image %s lies where files cannot be reflinked; it would have to lie on xfs (reflink=1) or btrfs: %w", backing, err)
	}
	views, err := mount.ViewsOf(place)
	if err != nil {
		return snapshot.Unit{}, err
	}
	return snapshot.Unit{
		Provider: Name,
		Key:      fmt.Sprintf("image:%d:%d", place.Major, place.Minor),
		Freeze:   place.MountPoint,
		Sync:     place.MountPoint,
		Why:      fmt.Sprintf("%s in the image %s (%s)", place.FSType, backing, place.Device),
		Detail: map[string]string{
			detailBacking: backing, detailDevice: place.Device, detailFSType: place.FSType,
			detailMount: place.MountPoint, detailViews: views.String(),
		},
	}, nil
}

// backingFile finds the image of a loop device by what the kernel shows in /sys/dev/block/MAJOR:MINOR/loop.
func backingFile(place mount.Place) (string, error) {
	sys := fmt.Sprintf("/sys/dev/block/%d:%d", place.Major, place.Minor)
	raw, err := os.ReadFile(filepath.Join(sys, "loop/backing_file"))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(sys, "partition")); err == nil {
			return "", fmt.Errorf("%s is a partition; the file system must fill the whole image", place.Device)
		}
		return "", fmt.Errorf("%s is no loop device; the file system must lie in an image file", place.Device)
	}
	if err != nil {
		return "", err
	}
	for _, limit := range []string{"offset", "sizelimit"} {
		if value, err := os.ReadFile(filepath.Join(sys, "loop", limit)); err == nil && strings.TrimSpace(string(value)) != "0" {
			return "", fmt.Errorf("%s shows only a part of its image (%s %s); it must show the whole", place.Device, limit, strings.TrimSpace(string(value)))
		}
	}
	backing := strings.TrimSuffix(string(raw), "\n") // one newline only: the name may end in some
	return backing, sameFile(place.Device, backing)
}

// sameFile checks that the name still leads to the file that the loop device has open: the kernel shows the name under which
// it was found, with " (deleted)" behind it if it is gone, and another mount may cover it by now.
func sameFile(device, backing string) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("cannot ask %s for its image: %w", device, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(backing, &st); err != nil {
		return fmt.Errorf("the image of %s is out of reach; it was deleted, or lies in another mount namespace: stat %s: %w", device, backing, err)
	}
	if st.Ino != info.Inode || st.Dev != info.Device {
		return fmt.Errorf("the image of %s is out of reach: %s is another file now", device, backing)
	}
	return nil
}
