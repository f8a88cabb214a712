// Package extent says which bytes of a file may differ between two cuts of the same copy-on-write file system, without reading them:
// from where the file system keeps them. It is written after Documentation/filesystems/fiemap.rst of Linux.
//
// # What is trusted
//
// A file's extent map (FIEMAP) says which physical address its bytes are read from. If at one moment two files have the same
// logical range at the same address, then whoever reads both at that moment reads the same block twice: the bytes are equal. That is
// the whole argument. It asks nothing of how the two came to share, so it holds for snapshots, reflinks and dedupe, for nodatacow
// (the first write after a snapshot moves the extent all the same; if one did not, both cuts would show it), and for any pair of
// files: a pair that does not belong together costs reading, never a wrong answer.
//
// The other argument, "the same address as last time, so nothing was written there", is wrong: what was freed is used again, by
// the same file at the same offset too. Hence what the caller must see to:
//
//   - Both cuts exist during the whole comparison: a block that is referenced cannot be given to somebody else. The open files keep
//     it so, even if the cut is deleted meanwhile. A map that was stored earlier, of a cut that is gone, proves nothing.
//   - Both are still: read-only snapshots, or files that nobody writes to. A change (a balance of btrfs, a dedupe, a writer)
//     is found by reading both maps twice: each piece then held its address over a span, and the two spans overlap.
//   - was is what the receiver has: it has not been changed since it was shipped.
//
// # What a piece of the map is taken for
//
//	a hole, and UNWRITTEN (preallocated)       zeros; equal to zeros, wherever they lie
//	no flag, or LAST, MERGED, SHARED           data at this address; equal to data at this address
//	ENCODED, on btrfs                          compressed: the map gives the address of the whole extent, whatever part of it is
//	                                           meant, so the part is read from the extent items of the tree (BTRFS_IOC_TREE_SEARCH_V2)
//	                                           and belongs to the address; without that it may differ
//	UNKNOWN, DELALLOC, DATA_ENCRYPTED,         may differ, even from itself
//	NOT_ALIGNED, DATA_INLINE, DATA_TAIL,
//	ENCODED elsewhere, a flag of tomorrow,
//	an address of 0
//
// LAST is not used as the end: the map is asked until it says nothing more. FIEMAP_FLAG_SYNC is always set: what is only in memory
// has no address yet, and XFS would name the shared block that it is about to leave.
//
// Behind its end a file reads as zeros: a file that grew by a hole has changed nothing, and one that was cut off has changed
// nothing either. The receiver sets the size first. Only what the last block of was holds behind the end of was is not trusted.
//
// # Which file systems
//
// btrfs (by its fsid: every subvolume has a device number of its own) and XFS (by its device number, not on a real-time device,
// whose addresses count anew). For a file inside an image see ChangedThrough. On anything else: ErrUnknown.
package extent

import (
	"errors"
	"fmt"
	"os"
)

// ErrUnknown says that the maps cannot tell what may differ: everything has to be read. It comes wrapped, with the reason.
var ErrUnknown = errors.New("the extent maps cannot tell")

// Range is a piece of a file, of at least one byte.
type Range struct{ Offset, Length int64 }

// End is the offset behind the range.
func (r Range) End() int64 { return r.Offset + r.Length }

// Total is the number of bytes in ranges that do not overlap.
func Total(ranges []Range) (bytes int64) {
	for _, r := range ranges {
		bytes += r.Length
	}
	return bytes
}

// add appends a range, or makes the last one longer if it touches it.
func add(ranges []Range, offset, length int64) []Range {
	if n := len(ranges); n > 0 && ranges[n-1].End() == offset {
		ranges[n-1].Length += length
		return ranges
	}
	return append(ranges, Range{offset, length})
}

func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnknown, fmt.Sprintf(format, args...))
}

// Changed returns the ranges of now (sorted, merged, within its size) that may differ from was. All others are equal.
func Changed(was, now *os.File) ([]Range, error) {
	a, err := plain(was)
	if err != nil {
		return nil, err
	}
	b, err := plain(now)
	if err != nil {
		return nil, err
	}
	if a.home != b.home {
		return nil, unknown("%s and %s lie on different file systems, %s and %s", was.Name(), now.Name(), a.home, b.home)
	}
	return differ(a, b)
}

// side is one of the two files.
type side struct {
	name string
	home string // where its addresses mean something: two are comparable in the same home only
	size int64
	read func() pieces // from the start to size
}

func plain(f *os.File) (*side, error) {
	home, size, err := locate(f)
	if err != nil {
		return nil, fmt.Errorf("cannot read the extent map of %s: %w", f.Name(), err)
	}
	return &side{name: f.Name(), home: home, size: size, read: func() pieces {
		m := newMap(f)
		m.seek(0, size)
		return m
	}}, nil
}

// differ compares, and then looks whether both maps are still what they were.
func differ(was, now *side) ([]Range, error) {
	a, b := was.witness(), now.witness()
	changed, err := compare(extend(a, was.size, now.size), b, now.size)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(was.same(a), now.same(b)); err != nil {
		return nil, err
	}
	return changed, nil
}

func (s *side) witness() *witness { return &witness{from: &joined{from: s.read()}} }

// same reads the map once more, and wants to see what the witness saw. The witness may have stopped early, where now ended.
func (s *side) same(seen *witness) error {
	if err := drain(seen); err != nil {
		return err
	}
	again := s.witness()
	if err := drain(again); err != nil {
		return err
	}
	if again.sum != seen.sum {
		return unknown("the map of %s changed while it was read; is somebody balancing, deduplicating or writing?", s.name)
	}
	return nil
}
