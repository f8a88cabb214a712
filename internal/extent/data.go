package extent

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Data returns the ranges of a file that hold data; the rest reads as zeros. A file system that knows no holes has data everywhere.
// It moves the file's offset: read it with ReadAt.
func Data(f *os.File) (ranges []Range, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot look for data in %s: %w", f.Name(), err)
	}
	for at := int64(0); at < info.Size(); {
		start, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // a hole up to the end
			break
		}
		if errors.Is(err, unix.EINVAL) {
			return add(ranges, at, info.Size()-at), nil
		}
		end := int64(0)
		if err == nil {
			end, err = f.Seek(start, unix.SEEK_HOLE)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot look for data in %s: %w", f.Name(), err)
		}
		if start, end = max(start, at), min(end, info.Size()); start < end {
			ranges = add(ranges, start, end-start)
		}
		at = max(end, at+1)
	}
	return ranges, nil
}
