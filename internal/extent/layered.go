package extent

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Layered is a file on an ext4 or XFS file system that lies in an image, as the image provider opens its cuts.
type Layered struct {
	File  *os.File // on the mounted inner file system
	Image *os.File // what its loop device reads: for a cut whose journal was played, the copy it was played in, not the cut
}

// ChangedThrough is Changed for files inside of images. The inner map gives addresses in the image, the map of the image, on btrfs or
// XFS, the address of each of them. Only the latter decides: the inner file system writes in place, so there the same address says
// nothing at all. That the image is what the inner file system is read from is looked up at the loop device.
func ChangedThrough(was, now Layered) ([]Range, error) {
	a, err := was.side()
	if err != nil {
		return nil, err
	}
	b, err := now.side()
	if err != nil {
		return nil, err
	}
	if a.home != b.home {
		return nil, unknown("the images %s and %s lie on different file systems, %s and %s", was.Image.Name(), now.Image.Name(), a.home, b.home)
	}
	return differ(a, b)
}

func (l Layered) side() (*side, error) {
	home, imageSize, err := locate(l.Image)
	if err != nil {
		return nil, fmt.Errorf("cannot read the extent map of %s: %w", l.Image.Name(), err)
	}
	size, err := l.check()
	if err != nil {
		return nil, fmt.Errorf("cannot read the extent map of %s in %s: %w", l.File.Name(), l.Image.Name(), err)
	}
	return &side{name: l.File.Name() + " in " + l.Image.Name(), home: home, size: size, read: func() pieces {
		inner := newMap(l.File)
		inner.seek(0, size)
		return &composed{inner: &joined{from: inner}, outer: newMap(l.Image), outerSize: imageSize}
	}}, nil
}

// check wants an inner file system whose addresses are offsets in the image, and the image to be its device's. It gives the file's size.
func (l Layered) check() (size int64, err error) {
	var file, image unix.Stat_t
	if err := unix.Fstat(int(l.File.Fd()), &file); err != nil {
		return 0, err
	}
	if err := unix.Fstat(int(l.Image.Fd()), &image); err != nil {
		return 0, err
	}
	magic, err := fileSystem(l.File)
	switch {
	case err != nil:
		return 0, err
	case file.Mode&unix.S_IFMT != unix.S_IFREG:
		return 0, unknown("it is no regular file")
	case magic == magicXFS:
		if err := refuseRealtime(l.File); err != nil {
			return 0, err
		}
	case magic != magicExt4:
		return 0, unknown("of the file systems in an image only ext4 and xfs are known")
	}
	return file.Size, backs(image, file.Dev)
}

// backs wants the image to be, from its start, what the loop device of that number reads.
func backs(image unix.Stat_t, device uint64) error {
	if unix.Major(device) != loopMajor {
		return unknown("its file system lies on device %d:%d, which is no loop device", unix.Major(device), unix.Minor(device))
	}
	loop, err := os.Open(fmt.Sprintf("/dev/loop%d", unix.Minor(device)))
	if err != nil {
		return unknown("its loop device cannot be asked: %v", err)
	}
	defer loop.Close()
	info, err := unix.IoctlLoopGetStatus64(int(loop.Fd()))
	if err != nil {
		return unknown("its loop device cannot be asked: %v", err)
	}
	if info.Inode != image.Ino || info.Device != image.Dev || info.Offset != 0 || info.Encrypt_type != 0 {
		return unknown("%s does not read this image from its start", loop.Name())
	}
	return nil
}

// composed leads each piece of the inner map through the outer one.
type composed struct {
	inner     pieces
	outer     *mapping
	outerSize int64
	piece     piece // of the inner map; the outer one tells what lies at its address
	told      int64 // how much of it
}

func (c *composed) next() (piece, error) {
	if c.told == c.piece.length {
		p, err := c.inner.next()
		if err != nil || p.kind != placed {
			return p, err
		}
		from, to := int64(p.at.position), int64(p.at.position)+p.length
		if p.at.extent != 0 || from < 0 || to > c.outerSize {
			return piece{}, unknown("it has data at %d, outside of its image", from)
		}
		c.piece, c.told = p, 0
		c.outer.seek(from, to)
	}
	p, err := c.outer.next()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	p.offset = c.piece.offset + c.told
	c.told += p.length
	return p, err
}
