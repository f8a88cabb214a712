// Package sparse copies the data of files and leaves their holes out.
package sparse

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// chunk is how many bytes are copied between two looks at the context.
const chunk = 8 << 20

// Copy makes dst, which is empty, hold what the first size bytes of src hold, and a hole where there is one. The kernel copies where it can. The
// progress gets the bytes that were written since it was called last; nil: nobody wants it.
func Copy(ctx context.Context, dst, src *os.File, size int64, progress func(int64)) error {
	if err := dst.Truncate(size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		begin, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			begin = at // this file system cannot tell
		}
		end, err := unix.Seek(int(src.Fd()), begin, unix.SEEK_HOLE)
		if err != nil {
			end = size
		}
		if err := extent(ctx, dst, src, begin, end, progress); err != nil {
			return err
		}
		at = end
	}
	return nil
}

func extent(ctx context.Context, dst, src *os.File, at, end int64, progress func(int64)) error {
	for at < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		want := min(end-at, chunk)
		in, out := at, at
		n, err := unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, int(want), 0)
		if err != nil || n == 0 { // not between these file systems, or not here
			read, err := io.CopyN(io.NewOffsetWriter(dst, at), io.NewSectionReader(src, at, want), want)
			if err != nil {
				return err
			}
			n = int(read)
		}
		at += int64(n)
		if progress != nil {
			progress(int64(n))
		}
	}
	return nil
}
