package extent

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What follows is written down from include/uapi/linux/fiemap.h.
const (
	iocFiemap = 0xc020660b // _IOWR('f', 11, struct fiemap)
	flagSync  = 1

	extentLast      = 0x0001
	extentEncoded   = 0x0008
	extentUnwritten = 0x0800
	extentMerged    = 0x1000
	extentShared    = 0x2000
)

// pageExtents is how many extents are asked for at once, and so what a map takes in memory: 28 KiB.
const pageExtents = 512

// rawExtent is struct fiemap_extent, 56 bytes.
type rawExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

// request is struct fiemap with its array.
type request struct {
	start, length uint64
	flags, mapped uint32
	count, _      uint32
	extents       [pageExtents]rawExtent
}

func (e rawExtent) end() int64 { return int64(e.logical + e.length) }

// asker fills the request with the extents that touch its range, in order; the first may begin before it and the last end behind.
type asker func(*request) error

func askKernel(f *os.File) asker {
	return func(r *request) error {
		for {
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), iocFiemap, uintptr(unsafe.Pointer(r)))
			runtime.KeepAlive(f)
			switch {
			case errno == unix.EINTR:
				continue
			case errno == unix.EOPNOTSUPP || errno == unix.ENOTTY || errno == unix.EBADR:
				return fmt.Errorf("%w: %w", ErrUnknown, errno)
			case errno != 0:
				return errno
			}
			return nil
		}
	}
}

// check refuses a page that is not what the documentation promises.
func (r *request) check() error {
	if r.mapped > pageExtents {
		return unknown("it gives %d extents where %d have room", r.mapped, pageExtents)
	}
	last := uint64(0)
	for i, e := range r.extents[:r.mapped] {
		end := e.logical + e.length
		switch {
		case e.length == 0 || end < e.logical || int64(end) < 0 || e.physical+e.length < e.physical:
			return unknown("it gives an extent of %d bytes at %d", e.length, e.logical)
		case i > 0 && e.logical < last:
			return unknown("its extents overlap at %d", e.logical)
		case end <= r.start || e.logical >= r.start+r.length:
			return unknown("it gives the extent at %d for the range at %d", e.logical, r.start)
		}
		last = end
	}
	return nil
}

// is says what an extent is taken for: see the package comment. packed is for a decoder to look at.
func (e rawExtent) is() (k kind, packed bool) {
	flags := e.flags &^ (extentLast | extentMerged | extentShared)
	switch {
	case flags == extentUnwritten:
		return zeros, false
	case flags == 0 && e.physical != 0:
		return placed, false
	}
	return opaque, flags == extentEncoded
}

func (e rawExtent) piece(k kind) piece {
	p := piece{offset: int64(e.logical), length: int64(e.length), kind: k}
	if k == placed {
		p.at.position = e.physical
	}
	return p
}

// failed gives an error of the map its file.
func failed(name string, err error) error {
	if err == nil {
		return nil
	}
	var errno unix.Errno
	if errors.As(err, &errno) && !errors.Is(err, ErrUnknown) {
		err = &os.SyscallError{Syscall: "fiemap", Err: err}
	}
	return fmt.Errorf("cannot read the extent map of %s: %w", name, err)
}
