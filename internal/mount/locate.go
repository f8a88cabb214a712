package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Locate tells where a path lies. The path must exist. It asks the kernel for the mount (statx, Linux 5.8), so it is right under
// over-mounts and bind mounts; on an older kernel it takes the longest mount point, and of equals the last, which is on top.
func Locate(path string) (Place, error) {
	real, err := realPath(path)
	if err != nil {
		return Place{}, fmt.Errorf("cannot locate %s: %w", path, err)
	}
	// The mount table is read after the path was resolved: an automount may just have been triggered.
	table, err := mountinfo.GetMounts(nil)
	if err != nil {
		return Place{}, fmt.Errorf("cannot locate %s: %w", path, err)
	}
	m := byID(table, mountID(real))
	if m == nil {
		m = longestPrefix(table, real)
	}
	if m == nil {
		return Place{}, fmt.Errorf("cannot locate %s: no mount of this process's namespace holds it", path)
	}
	return Place{
		Path: path, Real: real, MountPoint: m.Mountpoint, Root: m.Root, FSType: m.FSType,
		Device: devicePath(m), Major: m.Major, Minor: m.Minor,
		ReadOnly: hasOption(m.Options, "ro") || hasOption(m.VFSOptions, "ro"),
	}, nil
}

func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// mountID is the kernel's number of the mount that a path is reached through, or -1 where the kernel does not tell.
func mountID(path string) int {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st)
	if err != nil || st.Mask&unix.STATX_MNT_ID == 0 {
		return -1
	}
	return int(st.Mnt_id)
}

func byID(table []*mountinfo.Info, id int) *mountinfo.Info {
	for _, m := range table {
		if m.ID == id {
			return m
		}
	}
	return nil
}

func longestPrefix(table []*mountinfo.Info, path string) *mountinfo.Info {
	var best *mountinfo.Info
	for _, m := range table {
		if _, ok := below(m.Mountpoint, path); ok && (best == nil || len(m.Mountpoint) >= len(best.Mountpoint)) {
			best = m
		}
	}
	return best
}

// devicePath is the /dev path of a mount's device. The mount source may be a symlink (/dev/mapper, by-uuid) or a name that is
// no file any more (/dev/root), so the kernel's own name of the device number comes first; btrfs has only an anonymous
// number, and there the source is all we have.
func devicePath(m *mountinfo.Info) string {
	uevent, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/uevent", m.Major, m.Minor))
	if err == nil {
		for line := range strings.Lines(string(uevent)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
				return "/dev/" + name
			}
		}
	}
	if strings.HasPrefix(m.Source, "/") {
		if real, err := filepath.EvalSymlinks(m.Source); err == nil {
			return real
		}
	}
	return m.Source
}

func hasOption(options, want string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// below returns path relative to dir, and whether it is dir or lies under it. Both are clean and absolute.
func below(dir, path string) (string, bool) {
	if dir == path {
		return "", true
	}
	if dir != "/" {
		dir += "/"
	}
	return strings.CutPrefix(path, dir)
}
