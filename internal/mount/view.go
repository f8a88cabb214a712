package mount

import (
	"encoding/json"
	"fmt"
	"path"

	"github.com/moby/sys/mountinfo"
)

// View is one mount of a file system: what part of it (Root) shows where (MountPoint).
type View struct {
	MountPoint string `json:"mountpoint"`
	Root       string `json:"root"`
}

// Views are all mounts of one file system as they were at one time, so that real paths of that time can still be
// turned into paths of the file system when those mounts are gone.
type Views []View

// ViewsOf lists the mounts of the file system that a place lies on, the place's own mount last, which makes it win over a
// mount that it covers.
func ViewsOf(p Place) (Views, error) {
	table, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("cannot list the mounts of %s: %w", p.Device, err)
	}
	own := View{p.MountPoint, p.Root}
	var out Views
	for _, m := range table {
		if v := (View{m.Mountpoint, m.Root}); m.Major == p.Major && m.Minor == p.Minor && v != own {
			out = append(out, v)
		}
	}
	return append(out, own), nil
}

// Inside turns a real path into its path from the root of the file system ("/" based); of several mounts the longest counts.
func (views Views) Inside(real string) (string, error) {
	real = path.Clean(real)
	found, best, inside := false, "", ""
	for _, v := range views {
		rel, ok := below(v.MountPoint, real)
		if ok && len(v.MountPoint) >= len(best) {
			found, best, inside = true, v.MountPoint, path.Join("/", v.Root, rel)
		}
	}
	if !found {
		return "", fmt.Errorf("%s did not lie on this file system, which was mounted at %s", real, views.points())
	}
	return inside, nil
}

func (views Views) points() string {
	if len(views) == 0 {
		return "no place"
	}
	return views[len(views)-1].MountPoint
}

// Below returns p relative to dir, and whether p is dir or lies under it; both are clean and absolute.
func Below(dir, p string) (string, bool) { return below(dir, p) }

// String encodes the views for a provider's Detail.
func (views Views) String() string {
	raw, err := json.Marshal([]View(views))
	if err != nil { // strings always encode
		panic(err)
	}
	return string(raw)
}

// ParseViews decodes what String encoded.
func ParseViews(s string) (Views, error) {
	var views Views
	if err := json.Unmarshal([]byte(s), &views); err != nil {
		return nil, fmt.Errorf("cannot read the mounts noted with the snapshot: %w", err)
	}
	return views, nil
}

// PointsOf lists the mount points of a file system by its device number.
func PointsOf(major, minor int) []string {
	table, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil
	}
	var out []string
	for _, m := range table {
		if m.Major == major && m.Minor == minor {
			out = append(out, m.Mountpoint)
		}
	}
	return out
}
