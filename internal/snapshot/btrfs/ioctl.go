package btrfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What follows is written down from include/uapi/linux/btrfs.h and btrfs_tree.h of Linux 6.1; all of it is little-endian machine
// layout as the compiler lays it out, and stable since Linux 4.18. The magic of all requests is 0x94.
const (
	iocSnapDestroy  = 0x5000940f // _IOW (0x94, 15, struct btrfs_ioctl_vol_args)
	iocInoLookup    = 0xd0009412 // _IOWR(0x94, 18, struct btrfs_ioctl_ino_lookup_args)
	iocWaitSync     = 0x40089416 // _IOW (0x94, 22, __u64)
	iocSnapCreateV2 = 0x50009417 // _IOW (0x94, 23, struct btrfs_ioctl_vol_args_v2)
	iocStartSync    = 0x80089418 // _IOR (0x94, 24, __u64)
	iocFSInfo       = 0x8400941f // _IOR (0x94, 31, struct btrfs_ioctl_fs_info_args)
	iocSubvolRoots  = 0xd000943d // _IOWR(0x94, 61, struct btrfs_ioctl_get_subvol_rootref_args)
	iocLookupUser   = 0xd000943e // _IOWR(0x94, 62, struct btrfs_ioctl_ino_lookup_user_args)

	topLevel    = 5      // BTRFS_FS_TREE_OBJECTID: the subvolume that all others lie in
	rootInode   = 256    // BTRFS_FIRST_FREE_OBJECTID: the root directory of every subvolume
	readOnly    = 1 << 1 // BTRFS_SUBVOL_RDONLY
	maxRootRefs = 255    // BTRFS_MAX_ROOTREF_BUFFER_NUM
	superMagic  = 0x9123683e
)

// volArgs is struct btrfs_ioctl_vol_args, 4096 bytes.
type volArgs struct {
	_    int64 // fd
	name [4088]byte
}

// volArgsV2 is struct btrfs_ioctl_vol_args_v2, 4096 bytes.
type volArgsV2 struct {
	fd    int64
	_     uint64 // transid
	flags uint64
	_     [4]uint64
	name  [4040]byte
}

// inoLookupArgs is struct btrfs_ioctl_ino_lookup_args, 4096 bytes.
type inoLookupArgs struct {
	treeid   uint64
	objectid uint64
	name     [4080]byte
}

// rootRefArgs is struct btrfs_ioctl_get_subvol_rootref_args, 4096 bytes.
type rootRefArgs struct {
	_     uint64 // min_treeid
	refs  [maxRootRefs]struct{ treeid, dirid uint64 }
	items uint8
	_     [7]byte
}

// lookupUserArgs is struct btrfs_ioctl_ino_lookup_user_args, 4096 bytes.
type lookupUserArgs struct {
	dirid  uint64
	treeid uint64
	name   [256]byte
	_      [3824]byte // path
}

// fsInfoArgs is struct btrfs_ioctl_fs_info_args, 1024 bytes; we need its fsid.
type fsInfoArgs struct {
	_    [2]uint64 // max_id, num_devices
	fsid [16]byte
	_    [992]byte
}

func ioctl[T any](fd int, request uintptr, args *T) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(args)))
	if errno != 0 {
		return errno
	}
	return nil
}

func cString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// fsUUID returns the uuid of the file system that an open file lies on.
func fsUUID(fd int) (string, error) {
	var a fsInfoArgs
	if err := ioctl(fd, iocFSInfo, &a); err != nil {
		return "", fmt.Errorf("cannot read the file system's uuid: %w", err)
	}
	return formatUUID(a.fsid[:]), nil
}

func formatUUID(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// subvolumeOf returns the id of the subvolume that an open file lies in.
func subvolumeOf(fd int) (uint64, error) {
	a := inoLookupArgs{objectid: rootInode}
	if err := ioctl(fd, iocInoLookup, &a); err != nil {
		return 0, fmt.Errorf("cannot find its subvolume: %w", err)
	}
	return a.treeid, nil
}

// pathInside returns the path of an inode from the root of a subvolume, "" for the root itself.
func pathInside(fd int, subvolume, inode uint64) (string, error) {
	if inode == rootInode {
		return "", nil
	}
	a := inoLookupArgs{treeid: subvolume, objectid: inode}
	if err := ioctl(fd, iocInoLookup, &a); err != nil {
		return "", fmt.Errorf("cannot find a path in its subvolume: %w", err)
	}
	return strings.TrimSuffix(cString(a.name[:]), "/"), nil
}

// children lists the subvolumes that lie directly in the subvolume of fd, as paths from its root.
func children(fd int, subvolume uint64) ([]string, error) {
	var out []string
	var a rootRefArgs
	for {
		err := ioctl(fd, iocSubvolRoots, &a)
		if err != nil && err != unix.EOVERFLOW { // EOVERFLOW: the buffer is full, and there are more
			return nil, fmt.Errorf("cannot list the nested subvolumes: %w", err)
		}
		for _, ref := range a.refs[:a.items] {
			name, lookupErr := childPath(fd, subvolume, ref.treeid, ref.dirid)
			if lookupErr != nil {
				return nil, lookupErr
			}
			out = append(out, name)
		}
		if err == nil {
			return out, nil
		}
	}
}

func childPath(fd int, subvolume, child, dir uint64) (string, error) {
	a := lookupUserArgs{dirid: dir, treeid: child}
	if err := ioctl(fd, iocLookupUser, &a); err != nil {
		return "", fmt.Errorf("cannot name the nested subvolume %d: %w", child, err)
	}
	parent, err := pathInside(fd, subvolume, dir)
	if err != nil || parent == "" {
		return cString(a.name[:]), err
	}
	return parent + "/" + cString(a.name[:]), nil
}

// prepareSnapshot builds the request for a read-only snapshot, so that taking it is one system call.
func prepareSnapshot(source int, name string, flags uint64) (*volArgsV2, error) {
	a := &volArgsV2{fd: int64(source), flags: flags}
	if len(name) >= len(a.name) || len(name) > 255 {
		return nil, fmt.Errorf("cannot name a snapshot %s: the name is too long", name)
	}
	copy(a.name[:], name)
	return a, nil
}

func deleteSubvolume(dir int, name string) error {
	var a volArgs
	copy(a.name[:len(a.name)-1], name)
	return ioctl(dir, iocSnapDestroy, &a)
}

// commit waits until everything done so far survives a power cut.
func commit(fd int) error {
	var transaction uint64
	if err := ioctl(fd, iocStartSync, &transaction); err != nil {
		return fmt.Errorf("cannot start a commit: %w", err)
	}
	if err := ioctl(fd, iocWaitSync, &transaction); err != nil {
		return fmt.Errorf("cannot wait for a commit: %w", err)
	}
	return nil
}

// superblockUUID reads the uuid from a device: at 64 KiB lies struct btrfs_super_block, with its magic at byte 64 and the fsid
// at byte 32.
func superblockUUID(device string) (string, bool) {
	f, err := os.Open(device)
	if err != nil {
		return "", false
	}
	defer f.Close()
	var block [72]byte
	if _, err := f.ReadAt(block[:], 64<<10); err != nil {
		return "", false
	}
	if binary.LittleEndian.Uint64(block[64:]) != 0x4D5F53665248425F { // "_BHRfS_M"
		return "", false
	}
	return formatUUID(block[32:48]), true
}
