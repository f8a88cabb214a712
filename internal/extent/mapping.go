package extent

import (
	"io"
	"os"
	"sort"
)

// ahead is how far behind a wanted range the kernel is asked, so that neighbours need no call of their own.
const ahead = 1 << 20

// mapping reads the extent map of a file, a page at a time, as pieces without gaps.
type mapping struct {
	name   string
	ask    asker
	decode func(e rawExtent) []piece // nil: nothing encoded can be told

	at, to int64 // what is still to be told

	page  request
	first int64 // the page knows everything between first and known
	known int64
	i     int // the next extent in the page

	ready []piece // told next, from the one behind the last that was
	taken int
}

func newMap(f *os.File) *mapping {
	return &mapping{name: f.Name(), ask: askKernel(f), decode: decoder(f)}
}

// seek makes it tell what lies between two offsets. What it knows already is not asked again.
func (m *mapping) seek(from, to int64) {
	m.at, m.to, m.taken, m.ready = from, to, 0, m.ready[:0]
	if from < m.first || from >= m.known {
		m.first, m.known, m.page.mapped = from, from, 0
	}
	m.find()
}

// find turns to the first extent that ends behind what is told.
func (m *mapping) find() {
	m.i = sort.Search(int(m.page.mapped), func(i int) bool { return m.page.extents[i].end() > m.at })
}

func (m *mapping) next() (piece, error) {
	for m.taken == len(m.ready) {
		if m.at >= m.to {
			return piece{}, io.EOF
		}
		m.taken, m.ready = 0, m.ready[:0]
		if err := m.read(); err != nil {
			return piece{}, failed(m.name, err)
		}
	}
	m.taken++
	return m.ready[m.taken-1], nil
}

// read makes the next extent and the hole before it ready, or the hole up to what is known.
func (m *mapping) read() error {
	if m.i == int(m.page.mapped) && m.at >= m.known {
		if err := m.turn(); err != nil {
			return err
		}
	}
	if m.i == int(m.page.mapped) {
		m.tell(piece{offset: m.at, length: m.known - m.at, kind: zeros})
		return nil
	}
	e := m.page.extents[m.i]
	m.i++
	if hole := int64(e.logical) - m.at; hole > 0 {
		m.tell(piece{offset: m.at, length: hole, kind: zeros})
	}
	k, packed := e.is()
	if !packed || m.decode == nil {
		m.tell(e.piece(k))
		return nil
	}
	for _, p := range m.decode(e) {
		m.tell(p)
	}
	return nil
}

// tell makes the part of a piece ready that is wanted.
func (m *mapping) tell(p piece) {
	if p = p.clip(m.at, m.to); p.length > 0 {
		m.ready = append(m.ready, p)
		m.at = p.end()
	}
}

// turn asks for the next page. A page that is not full is all that there is in the range; a full one knows up to its last extent.
// btrfs rounds what it is asked to its blocks: we round before, so that an extent outside of what was asked is a fault.
func (m *mapping) turn() error {
	start := m.at / largestBlock * largestBlock
	length := (max(m.to-start, ahead) + largestBlock - 1) / largestBlock * largestBlock
	m.page.start, m.page.length = uint64(start), uint64(length)
	m.page.flags, m.page.count, m.page.mapped = flagSync, pageExtents, 0
	m.first, m.known = start, start
	if err := m.ask(&m.page); err != nil {
		return err
	}
	if err := m.page.check(); err != nil {
		return err
	}
	m.known = start + length
	if m.page.mapped == pageExtents {
		m.known = m.page.extents[pageExtents-1].end()
	}
	if m.known <= m.at {
		return unknown("it gives %d extents before %d, and room for no more", pageExtents, m.at)
	}
	m.find()
	return nil
}
