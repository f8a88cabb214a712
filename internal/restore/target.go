package restore

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
)

// Target is a directory that is to be made, as it is now.
type Target struct {
	Path       string
	Exists     bool
	Dir        bool
	Entry      string // one that is there already; "" if empty
	Parent     string // the nearest directory that exists: Path itself or one above
	MountPoint bool   // Path itself
	Symlink    bool   // Path itself
	Subvolume  bool   // Path itself is the root of a btrfs subvolume
	Free       uint64
	Reflink    bool   // files of the cut can share their blocks with files here
	SameBtrfs  bool   // as the cut
	Closed     string // a directory on the way that the server's user cannot pass
	Server     string // a running server whose data directory is this, above or below it
	Locked     bool   // some process holds InnoDB's lock on the system tablespace in it
	ConfigFile bool   // a my.cnf is there
}

func lookAt(path string, s Source) Target {
	t := Target{Path: path}
	if !filepath.IsAbs(path) {
		return t
	}
	if info, err := os.Stat(path); err == nil {
		t.Exists, t.Dir = true, info.IsDir()
		t.Entry = firstEntry(path)
		st := info.Sys().(*syscall.Stat_t)
		t.Subvolume = st.Ino == 256 && isBtrfs(path)
		if place, err := mount.Locate(path); err == nil {
			t.MountPoint = place.MountPoint == place.Real
		}
	} else if _, err := os.Lstat(path); err == nil {
		t.Exists = true // a dangling symlink
	}
	if info, err := os.Lstat(path); err == nil {
		t.Symlink = info.Mode()&os.ModeSymlink != 0
	}
	t.Parent = path
	for ; t.Parent != "/"; t.Parent = filepath.Dir(t.Parent) {
		if info, err := os.Stat(t.Parent); err == nil && info.IsDir() {
			break
		}
	}
	t.Free, _ = mount.Free(t.Parent)
	t.SameBtrfs, t.Reflink = shares(s.Path, t.Parent)
	t.Closed = closed(filepath.Dir(path), s.UID, s.GID)
	t.Server = serverAt(path)
	t.Locked = locked(filepath.Join(path, "ibdata1"))
	_, err := os.Lstat(filepath.Join(path, optionFileName))
	t.ConfigFile = err == nil
	return t
}

func firstEntry(dir string) string {
	d, err := os.Open(dir)
	if err != nil {
		return ""
	}
	defer func() { _ = d.Close() }()
	for {
		names, err := d.Readdirnames(1)
		if errors.Is(err, io.EOF) || len(names) == 0 {
			return ""
		}
		if names[0] != "lost+found" {
			return names[0]
		}
	}
}

// shares tells whether two directories lie on one btrfs, and whether files can be reflinked from one to the other.
func shares(a, b string) (sameBtrfs, reflink bool) {
	if x, okX := btrfsID(a); okX {
		y, okY := btrfsID(b)
		return okY && x == y, okY && x == y
	}
	var sa, sb unix.Stat_t
	var fa unix.Statfs_t
	if unix.Stat(a, &sa) != nil || unix.Stat(b, &sb) != nil || unix.Statfs(b, &fa) != nil {
		return false, false
	}
	return false, sa.Dev == sb.Dev && fa.Type == unix.XFS_SUPER_MAGIC
}

func isBtrfs(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.BTRFS_SUPER_MAGIC
}

// btrfsID is the file system's id, which all its subvolumes share while their device numbers and statfs ids differ.
func btrfsID(path string) (id [16]byte, ok bool) {
	const fsInfo = 0x8400941f // BTRFS_IOC_FS_INFO
	if !isBtrfs(path) {
		return id, false
	}
	f, err := os.Open(path)
	if err != nil {
		return id, false
	}
	defer func() { _ = f.Close() }()
	var args [1024]byte
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsInfo, uintptr(unsafe.Pointer(&args))); errno != 0 {
		return id, false
	}
	copy(id[:], args[16:32])
	return id, true
}

// closed finds the first existing directory on the way to dir that the user cannot pass.
func closed(dir string, uid, gid int) string {
	for d := dir; ; d = filepath.Dir(d) {
		var st unix.Stat_t
		if unix.Stat(d, &st) == nil {
			bit := uint32(0o001)
			switch {
			case int(st.Uid) == uid:
				bit = 0o100
			case int(st.Gid) == gid:
				bit = 0o010
			}
			if uid != 0 && st.Mode&bit == 0 {
				return d
			}
		}
		if d == "/" {
			return ""
		}
	}
}

// serverAt describes a running server whose data directory is path, or lies above or below it. A server's working
// directory is its data directory: it changes there when it starts, whatever its options are.
func serverAt(path string) string {
	real := path
	if r, err := filepath.EvalSymlinks(path); err == nil {
		real = r
	} else if r, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		real = filepath.Join(r, filepath.Base(path))
	}
	for _, pid := range servers() {
		cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
		if err != nil || !isDatadir("/proc/"+strconv.Itoa(pid)+"/cwd") {
			continue // it has only just begun to start: where it will go shows in the lock that it takes
		}
		_, inside := mount.Below(cwd, real)
		_, around := mount.Below(real, cwd)
		if inside || around {
			return "process " + strconv.Itoa(pid) + " with the data directory " + cwd
		}
	}
	return ""
}

// isDatadir knows a data directory by the schema that every server has.
func isDatadir(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "mysql"))
	return err == nil && info.IsDir()
}

// servers lists the processes that run mysqld or mariadbd.
func servers() []int {
	entries, _ := os.ReadDir("/proc")
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		exe, err := os.Readlink("/proc/" + e.Name() + "/exe")
		if err != nil {
			continue
		}
		name := filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
		if strings.HasPrefix(name, "mysqld") || strings.HasPrefix(name, "mariadbd") {
			out = append(out, pid)
		}
	}
	return out
}

// locked asks the kernel for the lock that InnoDB takes on its system tablespace: it is seen across containers too.
func locked(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock) == nil && lock.Type != unix.F_UNLCK
}
