package extent

import (
	"hash/maphash"
	"io"
)

type kind uint8

const (
	zeros  kind = iota // reads as zeros
	placed             // is read from the address
	opaque             // nobody knows: differs from everything
)

// address is where a byte is read from. The next byte of a piece has the next position in the same extent.
type address struct {
	extent   uint64 // 0, or the compressed extent that the position counts in
	position uint64 // the physical address, or, in a compressed extent, the offset in what it holds
}

// piece is a range of a file that is all of one kind. What is not placed has no address.
type piece struct {
	offset, length int64
	kind           kind
	at             address
}

func (p piece) end() int64 { return p.offset + p.length }

// clip is the part of the piece that lies between two offsets; its length is below 1 if none does.
func (p piece) clip(from, to int64) piece {
	if skip := from - p.offset; skip > 0 {
		p.offset += skip
		p.length -= skip
		if p.kind == placed {
			p.at.position += uint64(skip)
		}
	}
	if over := p.end() - to; over > 0 {
		p.length -= over
	}
	return p
}

// goesOnWith says whether both are one piece.
func (p piece) goesOnWith(q piece) bool {
	if p.end() != q.offset || p.kind != q.kind {
		return false
	}
	return p.kind != placed || p.at.extent == q.at.extent && p.at.position+uint64(p.length) == q.at.position
}

// equal says whether two pieces of the same offset and length surely hold the same bytes.
func equal(a, b piece) bool {
	switch {
	case a.kind == opaque || b.kind == opaque || a.kind != b.kind:
		return false
	case a.kind == zeros:
		return true
	}
	return a.at == b.at
}

// pieces goes through a file: each piece begins where the one before ended, the first at 0. io.EOF is the end.
type pieces interface{ next() (piece, error) }

// joined makes one piece of those that go on in each other. A map may be split in any way, and is split in another one when a
// snapshot elsewhere is deleted (SHARED goes): joined, the same map always gives the same pieces.
type joined struct {
	from  pieces
	ahead piece
	err   error // behind ahead
	began bool
}

func (j *joined) next() (piece, error) {
	if !j.began {
		j.began = true
		j.ahead, j.err = j.from.next()
	}
	if j.err != nil {
		return piece{}, j.err
	}
	p := j.ahead
	for {
		if j.ahead, j.err = j.from.next(); j.err != nil || !p.goesOnWith(j.ahead) {
			return p, nil
		}
		p.length += j.ahead.length
	}
}

var seed = maphash.MakeSeed()

// witness remembers what it has passed on.
type witness struct {
	from pieces
	sum  uint64
}

func (w *witness) next() (piece, error) {
	p, err := w.from.next()
	if err == nil {
		w.sum = w.sum*31 + maphash.Comparable(seed, p)
	}
	return p, err
}

func drain(from pieces) error {
	for {
		if _, err := from.next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// chain gives one after the other.
type chain []pieces

func (c *chain) next() (piece, error) {
	for len(*c) > 0 {
		p, err := (*c)[0].next()
		if err != io.EOF {
			return p, err
		}
		*c = (*c)[1:]
	}
	return piece{}, io.EOF
}

// list gives pieces that are in memory.
type list []piece

func (l *list) next() (piece, error) {
	if len(*l) == 0 {
		return piece{}, io.EOF
	}
	p := (*l)[0]
	*l = (*l)[1:]
	return p, nil
}

// largestBlock is the largest block of a Linux file system.
const largestBlock = 64 << 10

// extend makes a file as long as another: zeros, but for the rest of the last block, which may hold what was there before a truncation.
func extend(from pieces, size, to int64) pieces {
	if to <= size {
		return from
	}
	edge := min(to, (size+largestBlock-1)/largestBlock*largestBlock)
	tail := list{}
	if edge > size {
		tail = append(tail, piece{offset: size, length: edge - size, kind: opaque})
	}
	if to > edge {
		tail = append(tail, piece{offset: edge, length: to - edge, kind: zeros})
	}
	return &chain{from, &tail}
}

// compare goes through two files side by side, holding one piece of each, up to size.
func compare(was, now pieces, size int64) (changed []Range, err error) {
	var a, b piece
	for at := int64(0); at < size; {
		if a, err = upTo(was, a, at); err != nil {
			return nil, err
		}
		if b, err = upTo(now, b, at); err != nil {
			return nil, err
		}
		end := min(a.end(), b.end(), size)
		if !equal(a.clip(at, end), b.clip(at, end)) {
			changed = add(changed, at, end-at)
		}
		at = end
	}
	return changed, nil
}

// upTo is the piece that the byte at the offset lies in: the current one, or the next.
func upTo(from pieces, current piece, at int64) (piece, error) {
	if current.end() > at {
		return current, nil
	}
	next, err := from.next()
	if err == io.EOF {
		return piece{}, io.ErrUnexpectedEOF
	}
	if err == nil && (next.offset != at || next.length < 1) {
		return piece{}, unknown("a map goes on at %d instead of %d", next.offset, at)
	}
	return next, err
}
