// Package external is for snapshots that somebody else takes: a cloud, a hypervisor, an array. Its cut announces that everything
// is held, and waits until the host says that its snapshot is done; the host calls before and after (package hook).
//
// Such a point names no snapshot that could be opened here: who restores attaches the host's snapshot, and says where.
package external

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// Name is the provider's name, Kind the kind of its deeds in the undo registry.
const (
	Name = "external"
	Kind = "snapshot.external"
)

// What Detail holds, in units and refs, beside what the host says about its snapshot.
const (
	detailHost   = "host"
	detailDevice = "device"
	detailFSType = "filesystem"
	detailMount  = "mountpoint"
	detailViews  = "mounts" // mount.Views at the time of the cut
	detailDisk   = "disk"   // where the host's snapshot is attached now: never recorded, see At
)

// group tells that all units are cut at one moment: their file systems stand still over the host's snapshot.
const group = "the host's snapshot"

// Gate is where the runs of several instances meet the host.
type Gate interface {
	// Enter tells the mount points that are frozen over the host's snapshot.
	Enter(mountpoints []string)
	// Pass announces that this run holds its server, and waits until the host is done. It returns what the host says about its snapshot.
	Pass(context.Context) (map[string]string, error)
	// Leave tells that this attempt is over; one that never passed did not succeed.
	Leave()
}

// Provider waits for a host.
type Provider struct {
	name string // of the host, as a word
	host string // for people
	ours bool   // we freeze, not the host
	gate Gate
}

// New returns the provider for one call of a host; freeze tells that the file systems are frozen at the gate, as the host does not.
func New(name, host string, freeze bool, gate Gate) *Provider {
	return &Provider{name: name, host: host, ours: freeze, gate: gate}
}

// Reader returns a provider that can only open what At has attached.
func Reader() *Provider { return &Provider{} }

// Name is "external".
func (*Provider) Name() string { return Name }

// Covers takes every file system that lies on a disk.
func (p *Provider) Covers(_ context.Context, place mount.Place) (snapshot.Unit, error) {
	if p.gate == nil {
		return snapshot.Unit{}, errors.New("nobody waits for a host's snapshot")
	}
	if !strings.HasPrefix(place.Device, "/dev/") {
		return snapshot.Unit{}, fmt.Errorf("%s lies on %s (%s), which is no disk that %s could snapshot", place.Path, place.FSType, place.Device, p.host)
	}
	views, err := mount.ViewsOf(place)
	if err != nil {
		return snapshot.Unit{}, err
	}
	return snapshot.Unit{
		Provider: Name, Key: fmt.Sprintf("external:%d:%d", place.Major, place.Minor), Group: group,
		FrozenBy: p.freezer(place), Sync: place.MountPoint,
		Why: fmt.Sprintf("the snapshot of %s (%s on %s)", p.host, place.FSType, place.Device),
		Detail: map[string]string{
			detailHost: p.name, detailDevice: place.Device, detailFSType: place.FSType,
			detailMount: place.MountPoint, detailViews: views.String(),
		},
	}, nil
}

// freezer tells who freezes. We never freeze the root file system: the host's agent, which has to call us again, would hang on it.
func (p *Provider) freezer(place mount.Place) string {
	switch {
	case !p.ours:
		return p.host
	case onRoot(place):
		return ""
	}
	return "holdstill"
}

// onRoot sees through subvolumes and bind mounts: a freeze is of a whole file system.
func onRoot(place mount.Place) bool {
	root, err := mount.Locate("/")
	return place.MountPoint == "/" || err == nil && root.Major == place.Major && root.Minor == place.Minor
}

// Find finds nothing: the host keeps its snapshots.
func (*Provider) Find(context.Context, snapshot.Unit, string) ([]snapshot.Ref, error) {
	return nil, nil
}

// Destroy leaves the snapshot to the host.
func (*Provider) Destroy(context.Context, snapshot.Ref) error { return nil }

// Undoer has nothing to take back: the host owns its snapshot.
func Undoer(context.Context, undo.Deed) error { return nil }

// At returns the ref with the place where the host's snapshot is attached now: a block device, an image file, or the directory
// where it is mounted. Disks are by the mount points that their file systems had; "" stands for the only one.
func At(ref snapshot.Ref, disks map[string]string) (snapshot.Ref, error) {
	disk, ok := disks[ref.Detail[detailMount]]
	if !ok {
		disk, ok = disks[""]
	}
	if !ok {
		return ref, fmt.Errorf("cannot open the snapshot of %s, taken by %s at %s: %w", ref.Detail[detailMount], ref.Detail[detailHost], ref.Run, ErrNotAttached)
	}
	disk, err := filepath.Abs(disk)
	if err == nil {
		_, err = os.Stat(disk)
	}
	if err != nil {
		return ref, fmt.Errorf("cannot use the snapshot of %s: %w", ref.Detail[detailMount], err)
	}
	detail := map[string]string{detailDisk: disk}
	for k, v := range ref.Detail {
		if k != detailDisk {
			detail[k] = v
		}
	}
	ref.Detail = detail
	return ref, nil
}
