// Package btrfs cuts btrfs subvolumes by read-only snapshots, through ioctls only.
//
// The file system must not be frozen: a snapshot commits, and a frozen btrfs blocks its own snapshot. Snapshots are kept in
// the directory .holdstill (mode 0700) of the top-level subvolume (id 5) under the name RUN-sID, ID being the id of the
// subvolume that was cut. The top level is reached through a private mount, so they show up in no mounted subvolume.
package btrfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// Name is the provider's name, Kind the kind of its deeds in the undo registry.
const (
	Name = "btrfs"
	Kind = "snapshot.btrfs"
)

// What Detail holds, in units and refs.
const (
	detailUUID      = "uuid"      // of the file system
	detailDevice    = "device"    // where it was seen; a hint only
	detailSubvolume = "subvolume" // path of the subvolume from the top level: "/@data"
	detailID        = "id"        // of the subvolume that is cut
	detailViews     = "mounts"    // mount.Views at the time of the cut
)

// Provider cuts btrfs subvolumes.
type Provider struct{}

// New returns the provider. It has no state: all there is to know is in units and refs.
func New() *Provider { return &Provider{} }

// Name is "btrfs".
func (*Provider) Name() string { return Name }

// Covers finds the subvolume of a place, and refuses where its snapshot would not hold the whole place.
func (*Provider) Covers(ctx context.Context, place mount.Place) (snapshot.Unit, error) {
	if place.FSType != "btrfs" {
		return snapshot.Unit{}, fmt.Errorf("%s lies on %s, and only a btrfs can cut its subvolumes", place.Path, place.FSType)
	}
	if place.ReadOnly {
		return snapshot.Unit{}, fmt.Errorf("%s is mounted read-only, and a btrfs snapshot has to be written", place.MountPoint)
	}
	unit, err := cover(ctx, place)
	if err != nil {
		return snapshot.Unit{}, fmt.Errorf("cannot cut %s as a btrfs subvolume: %w", place.Path, err)
	}
	return unit, nil
}

func cover(ctx context.Context, place mount.Place) (snapshot.Unit, error) {
	where, err := find(place)
	if err != nil {
		return snapshot.Unit{}, err
	}
	if where.id == topLevel && where.inside == "" {
		return snapshot.Unit{}, errors.New("it is the top level of its btrfs, where our directory .holdstill would look like a database; " +
			"move the data into a subvolume or a directory of its own")
	}
	if err := refuseNested(ctx, place, where); err != nil {
		return snapshot.Unit{}, err
	}
	views, err := mount.ViewsOf(place)
	if err != nil {
		return snapshot.Unit{}, err
	}
	fromTop, err := views.Inside(place.Real)
	if err != nil {
		return snapshot.Unit{}, err
	}
	subvolume := path.Join("/", strings.TrimSuffix(fromTop, where.inside))
	return snapshot.Unit{
		Provider: Name,
		Key:      unitKey(where.uuid, where.id),
		Sync:     place.MountPoint,
		Why:      fmt.Sprintf("btrfs subvolume %s (id %d) of %s", subvolume, where.id, place.Device),
		Detail: map[string]string{
			detailUUID: where.uuid, detailDevice: place.Device, detailSubvolume: subvolume,
			detailID: strconv.FormatUint(where.id, 10), detailViews: views.String(),
		},
	}, nil
}

func unitKey(uuid string, id uint64) string { return fmt.Sprintf("btrfs:%s:%d", uuid, id) }

// position is where a place lies in its btrfs.
type position struct {
	uuid   string
	id     uint64 // of its subvolume
	inside string // path from the root of the subvolume; "" is the root itself
}

func find(place mount.Place) (position, error) {
	f, err := os.Open(place.Real)
	if err != nil {
		return position{}, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return position{}, err
	}
	var p position
	if p.uuid, err = fsUUID(int(f.Fd())); err != nil {
		return p, err
	}
	if p.id, err = subvolumeOf(int(f.Fd())); err != nil {
		return p, err
	}
	p.inside, err = pathInside(int(f.Fd()), p.id, st.Ino)
	return p, err
}

// refuseNested refuses a place with subvolumes below it: a snapshot shows them as empty directories.
func refuseNested(ctx context.Context, place mount.Place, where position) error {
	root, err := openMounted(ctx, place.Device, "ro", fmt.Sprintf("subvolid=%d", where.id))
	if err != nil {
		return err
	}
	defer root.Close()
	nested, err := children(root.fd(), where.id)
	if err != nil {
		return err
	}
	for _, child := range nested {
		rel, ok := mount.Below(path.Join("/", where.inside), "/"+child)
		if ok && rel != "" {
			return fmt.Errorf("%s is a subvolume of its own and would be missing from the snapshot; make it a plain directory, or move it out",
				path.Join(place.Path, rel))
		}
	}
	return nil
}
