package extent

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

// The model: a file is a row of blocks, each made from one byte; what may differ is worked out sector by sector.
const (
	block  = 4096
	sector = 512
)

// cell is one block: what the kernel says of it, and what that is worth.
type cell struct {
	hole      bool
	physical  uint64
	flags     uint32
	zero      bool
	worth     address // if it can be trusted
	trustable bool
}

var untrusted = []uint32{0x2, 0x4 | 0x2, 0x80 | 0x8, 0x100, 0x200 | 0x100, 0x400 | 0x100, 0x800 | 0x4, 0x8 | 0x100, 0x40000}

// cells reads bytes as blocks. Few addresses, so that many are equal: most blocks lie behind their neighbours.
func cells(code []byte) []cell {
	row := make([]cell, len(code))
	for i, c := range code {
		at := uint64(1+i+int(c>>6))*block + 1<<20
		switch c & 15 {
		case 0:
			row[i] = cell{hole: true, zero: true}
		case 1:
			row[i] = cell{physical: at, flags: extentUnwritten, zero: true}
		case 2:
			row[i] = cell{physical: at, flags: untrusted[int(c>>4)%len(untrusted)]}
		case 3: // a part of a compressed extent: the map says where it begins, whatever part it is
			extent := address{extent: uint64(1+i/8) << 20, position: uint64(c>>6) * block}
			row[i] = cell{physical: extent.extent, flags: extentEncoded, worth: extent, trustable: true}
		case 4:
			row[i] = cell{physical: 0}
		case 5, 6:
			row[i] = cell{physical: at, flags: extentShared | extentMerged, worth: address{position: at}, trustable: true}
		default:
			row[i] = cell{physical: at, worth: address{position: at}, trustable: true}
		}
	}
	return row
}

// kernel answers as FIEMAP does, with the row split at random, the first extent before the start and the last behind the end.
func kernel(row []cell, random *rand.Rand) (asker, func(rawExtent) []piece) {
	var all []rawExtent
	for i, c := range row {
		e := rawExtent{logical: uint64(i) * block, physical: c.physical, length: block, flags: c.flags}
		if n := len(all); n > 0 && all[n-1].goesOnWith(e) && random.IntN(4) > 0 {
			all[n-1].length += block
		} else if !c.hole {
			all = append(all, e)
		}
	}
	if n := len(all); n > 0 && random.IntN(2) > 0 {
		all[n-1].flags |= extentLast
	}
	return func(r *request) error {
			first := sort.Search(len(all), func(i int) bool { return all[i].logical+all[i].length > r.start })
			for _, e := range all[first:] {
				if e.logical >= r.start+r.length || r.mapped == r.count {
					break
				}
				r.extents[r.mapped] = e
				r.mapped++
			}
			return nil
		}, func(e rawExtent) (out []piece) {
			for i := e.logical / block; i < (e.logical+e.length)/block; i++ {
				out = append(out, piece{offset: int64(i * block), length: block, kind: placed, at: row[i].worth})
			}
			return out
		}
}

// goesOnWith is how btrfs merges.
func (e rawExtent) goesOnWith(f rawExtent) bool {
	return f.physical != 0 && e.logical+e.length == f.logical && e.physical+e.length == f.physical && e.flags == f.flags
}

type modelFile struct {
	row  []cell
	size int64
	side *side
}

func newModelFile(code []byte, cutOff int, random *rand.Rand) modelFile {
	f := modelFile{row: cells(code), size: max(0, int64(len(code))*block-int64(cutOff)*sector)}
	ask, decode := kernel(f.row, random)
	f.side = &side{name: "model", size: f.size, read: func() pieces {
		m := &mapping{name: "model", ask: ask, decode: decode}
		m.seek(0, f.size)
		return m
	}}
	return f
}

// at is what the sector is worth. Behind the end are zeros, but for what the last block may hold.
func (f modelFile) at(offset int64) (zero, trustable bool, worth address) {
	if offset >= f.size {
		return offset >= (f.size+largestBlock-1)/largestBlock*largestBlock, false, address{}
	}
	c := f.row[offset/block]
	worth = c.worth
	worth.position += uint64(offset % block)
	return c.zero, c.trustable, worth
}

func wanted(was, now modelFile) (ranges []Range) {
	for at := int64(0); at < now.size; at += sector {
		zeroA, trustA, a := was.at(at)
		zeroB, trustB, b := now.at(at)
		if !(zeroA && zeroB || trustA && trustB && a == b) {
			ranges = add(ranges, at, min(sector, now.size-at))
		}
	}
	return ranges
}

func checkModel(t *testing.T, was, now modelFile) {
	t.Helper()
	got, err := differ(was.side, now.side)
	if err != nil {
		t.Fatal(err)
	}
	if want := wanted(was, now); !slices.Equal(got, want) {
		t.Fatalf("%d ranges instead of %d: %s", len(got), len(want), firstDifference(got, want))
	}
}

func firstDifference(got, want []Range) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("got %+v, want %+v", got[i:min(i+1, len(got))], want[i:min(i+1, len(want))])
		}
	}
	return "none"
}

func FuzzChanged(f *testing.F) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		was := make([]byte, random.IntN(3000))
		for i := range was {
			was[i] = byte(random.Uint32())
		}
		now := append(slices.Clone(was), make([]byte, random.IntN(300))...)
		for range len(now) / 10 {
			now[random.IntN(len(now))] = byte(random.Uint32())
		}
		if random.IntN(3) == 0 {
			now = now[:random.IntN(len(now)+1)]
		}
		f.Add(was, now, seed, uint8(random.Uint32()))
	}
	f.Fuzz(func(t *testing.T, was, now []byte, seed uint64, cutOff uint8) {
		random := rand.New(rand.NewPCG(seed, 2))
		checkModel(t, newModelFile(was, int(cutOff&7), random), newModelFile(now, int(cutOff>>4&7), random))
	})
}

// A file in an image: the model is composed block by block, then compared as any other.
func FuzzChangedThrough(f *testing.F) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 3))
		image := make([]byte, 1200+random.IntN(1000))
		for i := range image {
			image[i] = byte(random.Uint32())
		}
		f.Add(image, seed, uint8(random.Uint32()))
	}
	f.Fuzz(func(t *testing.T, image []byte, seed uint64, cutOff uint8) {
		random := rand.New(rand.NewPCG(seed, 4))
		other := slices.Clone(image)
		for range len(image) / 5 {
			other[random.IntN(len(image))] ^= byte(random.Uint32())
		}
		inner := innerRow(len(image), random)
		again := innerRow(0, random)
		for i := range inner { // the inner file has moved here and there, or lies where it did
			again = append(again, inner[i])
			if random.IntN(9) == 0 && len(image) > 0 {
				again[i] = cell{physical: uint64(random.IntN(len(image))) * block, trustable: true}
			}
		}
		checkModel(t, layer(inner, image, int(cutOff&7), random), layer(again, other, int(cutOff>>4&7), random))
	})
}

// innerRow is a file of as many blocks as the image has, in runs.
func innerRow(n int, random *rand.Rand) (row []cell) {
	for len(row) < n {
		start := 1 + random.IntN(n)
		for i := range 1 + random.IntN(64) {
			c := cell{physical: uint64(start+i) * block, trustable: true}
			if start+i >= n || random.IntN(30) == 0 {
				c = cell{hole: true, zero: true}
			}
			row = append(row, c)
		}
	}
	return row[:n]
}

func layer(inner []cell, image []byte, cutOff int, random *rand.Rand) modelFile {
	outer := newModelFile(image, 0, random)
	f := modelFile{size: max(0, int64(len(inner))*block-int64(cutOff)*sector)}
	for _, c := range inner {
		if c.trustable && c.physical != 0 {
			c = outer.row[c.physical/block]
		} else if !c.zero {
			c = cell{}
		}
		f.row = append(f.row, c)
	}
	ask, _ := kernel(inner, random)
	outerAsk, decode := kernel(outer.row, random)
	f.side = &side{name: "layered model", size: f.size, read: func() pieces {
		m := &mapping{name: "inner", ask: ask}
		m.seek(0, f.size)
		return &composed{inner: &joined{from: m}, outer: &mapping{name: "outer", ask: outerAsk, decode: decode}, outerSize: outer.size}
	}}
	return f
}

// A map that changes between the two readings, or is no map, is not believed.
func TestMapsThatAreNotBelieved(t *testing.T) {
	one := rawExtent{logical: 0, physical: 1 << 20, length: block}
	cases := map[string]func(call int) []rawExtent{
		"changed while it was read": func(call int) []rawExtent {
			return []rawExtent{{logical: 0, physical: uint64(call+1) << 20, length: block}}
		},
		"overlap": func(int) []rawExtent { return []rawExtent{one, one} },
		"0 bytes": func(int) []rawExtent { return []rawExtent{{physical: 1 << 20}} },
		"for the range": func(int) []rawExtent {
			return []rawExtent{{logical: 1 << 40, physical: 1 << 20, length: block}}
		},
	}
	for name, answer := range cases {
		t.Run(name, func(t *testing.T) {
			calls := 0
			ask := func(r *request) error {
				r.mapped = uint32(copy(r.extents[:], answer(calls)))
				calls++
				return nil
			}
			s := &side{name: "file", size: block, read: func() pieces {
				m := &mapping{name: "file", ask: ask}
				m.seek(0, block)
				return m
			}}
			if _, err := differ(s, s); !errors.Is(err, ErrUnknown) {
				t.Errorf("%v", err)
			}
		})
	}
}

// However a map is split, it is the same map.
func TestJoinedIsTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 5))
	code := make([]byte, 2000)
	for i := range code {
		code[i] = byte(random.Uint32())
	}
	var sums []uint64
	for range 5 {
		w := newModelFile(code, 0, random).side.witness()
		if err := drain(w); err != nil {
			t.Fatal(err)
		}
		sums = append(sums, w.sum)
	}
	if sums = slices.Compact(sums); len(sums) != 1 {
		t.Errorf("%d sums of one map", len(sums))
	}
	if _, err := (&joined{from: &list{}}).next(); err != io.EOF {
		t.Error(err)
	}
}

// Without the right to look at the items of btrfs, what is compressed may differ, from itself too.
func TestEncodedWithoutItems(t *testing.T) {
	s := newModelFile([]byte{3, 3 + 64, 7}, 0, rand.New(rand.NewPCG(1, 6))).side
	read := s.read
	s.read = func() pieces {
		m := read().(*mapping)
		m.decode = nil
		return m
	}
	got, err := differ(s, s)
	if want := []Range{{0, 2 * block}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
}
