// Package mount tells where paths lie and opens file systems privately. What it opens is gone when the process is:
// it uses mounts that are attached nowhere (fsopen, fsmount; Linux 5.2 or newer).
package mount

// Place is a path with everything that lies under it: symlinks resolved, its mount, its device.
type Place struct {
	Path       string `json:"path"`       // as it was asked for
	Real       string `json:"real"`       // symlinks resolved
	MountPoint string `json:"mountpoint"` // of the mount that holds Real
	Root       string `json:"root"`       // what part of the file system is mounted there ("/" or "/@data")
	FSType     string `json:"filesystem"`
	Device     string `json:"device"` // "/dev/loop3", or what the kernel names as the source
	Major      int    `json:"major"`  // of the device as mountinfo tells it (btrfs: an anonymous one)
	Minor      int    `json:"minor"`
	ReadOnly   bool   `json:"read_only,omitempty"`
}
