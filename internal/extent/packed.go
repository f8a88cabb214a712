package extent

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From include/uapi/linux/btrfs.h and btrfs_tree.h; items are little-endian and packed, as they lie on the disk.
const (
	iocTreeSearch = 0xc0709411 // _IOWR(0x94, 17, struct btrfs_ioctl_search_args_v2)
	keyExtentData = 108        // BTRFS_EXTENT_DATA_KEY
	typeRegular   = 1          // BTRFS_FILE_EXTENT_REG
	itemBytes     = 53         // struct btrfs_file_extent_item
	headerBytes   = 32         // struct btrfs_ioctl_search_header
	searchBytes   = 64 << 10
)

// searchArgs is struct btrfs_ioctl_search_args_v2 with its buffer. A tree of 0 is the subvolume that the file lies in.
type searchArgs struct {
	tree                   uint64
	minObject, maxObject   uint64
	minOffset, maxOffset   uint64
	minTransid, maxTransid uint64
	minType, maxType       uint32
	items, _               uint32
	_                      [4]uint64
	size                   uint64
	buffer                 [searchBytes]byte
}

// unpacker knows the extent items of one file on btrfs, a buffer of them at a time.
type unpacker struct {
	file  *os.File
	inode uint64
	args  *searchArgs
	items []piece // the pieces of the items of one search
	known int64   // they cover all that lies between the first and here
}

// decoder is for encoded extents; nil where there is none.
func decoder(f *os.File) func(rawExtent) []piece {
	magic, err := fileSystem(f)
	var st unix.Stat_t
	if err != nil || magic != magicBtrfs || unix.Fstat(int(f.Fd()), &st) != nil {
		return nil
	}
	u := &unpacker{file: f, inode: st.Ino}
	return u.unpack
}

// unpack gives the pieces of an encoded extent of the map, which may be several extents of the file. Without the right to search
// (CAP_SYS_ADMIN), and for whatever the items do not explain, they are opaque.
func (u *unpacker) unpack(e rawExtent) (out []piece) {
	for at, end := int64(e.logical), e.end(); at < end; {
		p := u.find(at).clip(at, end)
		if p.length < 1 {
			p = piece{offset: at, length: end - at, kind: opaque}
		}
		out = append(out, p)
		at = p.end()
	}
	return out
}

// find gives the piece that an offset lies in, or one without length. Encoded extents come in order, so the first is nearly it.
func (u *unpacker) find(at int64) piece {
	if len(u.items) == 0 || at < u.items[0].offset || at >= u.known {
		if !u.search(at) {
			return piece{}
		}
	}
	for len(u.items) > 0 && u.items[0].end() <= at {
		u.items = u.items[1:]
	}
	if len(u.items) == 0 || u.items[0].offset > at {
		return piece{}
	}
	return u.items[0]
}

func (u *unpacker) search(at int64) bool {
	if u.args == nil {
		u.args = new(searchArgs)
	}
	a := u.args
	a.tree, a.minObject, a.maxObject, a.minOffset, a.maxOffset = 0, u.inode, u.inode, uint64(at), ^uint64(0)
	a.minTransid, a.maxTransid, a.minType, a.maxType = 0, ^uint64(0), keyExtentData, keyExtentData
	a.items, a.size = ^uint32(0), searchBytes
	if err := ioctl(u.file, iocTreeSearch, unsafe.Pointer(a)); err != nil {
		return false
	}
	u.items, u.known = u.items[:0], at
	for rest, n := a.buffer[:], a.items; n > 0 && len(rest) >= headerBytes; n-- {
		offset, length := int64(binary.NativeEndian.Uint64(rest[16:])), int(binary.NativeEndian.Uint32(rest[28:]))
		rest = rest[headerBytes:]
		if length > len(rest) {
			break
		}
		if p, ok := item(offset, rest[:length]); ok {
			u.items = append(u.items, p)
			u.known = p.end()
		}
		rest = rest[length:]
	}
	return len(u.items) > 0
}

// item is the piece of a compressed extent: the address of the extent, and which part of what it holds is meant.
func item(offset int64, b []byte) (piece, bool) {
	if len(b) != itemBytes {
		return piece{}, false // inline
	}
	compression, encryption, other, what := b[16], b[17], binary.LittleEndian.Uint16(b[18:]), b[20]
	disk, from, length := binary.LittleEndian.Uint64(b[21:]), binary.LittleEndian.Uint64(b[37:]), binary.LittleEndian.Uint64(b[45:])
	p := piece{offset: offset, length: int64(length), kind: opaque}
	if compression != 0 && encryption == 0 && other == 0 && what == typeRegular && disk != 0 {
		p.kind, p.at = placed, address{extent: disk, position: from}
	}
	return p, p.length > 0
}
