package binlog

import (
	"errors"
	"io"
	"slices"
	"time"
)

// Index tells in which parts of a log a question can have an answer, so that all others need not be read. It is made by one reading of the whole.
type Index struct {
	Version int     `json:"version"`
	Size    int64   `json:"size"` // of the log, when it was made
	Head    int64   `json:"head"` // bytes at its beginning that a reader of a block needs first
	Blocks  []Block `json:"blocks"`
}

// indexVersion changes with what an index means.
const indexVersion = 1

// Block is a part of a log: some whole transactions.
type Block struct {
	From   int64             `json:"from"`
	To     int64             `json:"to"`
	First  time.Time         `json:"first"`            // the earliest commit
	Last   time.Time         `json:"last"`             // the latest
	Tables map[string][]Kind `json:"tables,omitempty"` // what is done to them by rows
	Stated []Kind            `json:"stated,omitempty"` // kinds of statements; which tables they are about only their texts tell
	Most   int               `json:"most"`             // rows of one transaction
}

// blockSize is how long a block is at least, in bytes. A transaction is never cut.
const blockSize = 1 << 20

// MakeIndex reads a whole log.
func MakeIndex(r io.Reader, size int64) (*Index, error) {
	out := &Index{Version: indexVersion, Size: size}
	err := Describe(r, func(d Detail) error {
		if out.Head == 0 {
			out.Head = d.Start
		}
		n := len(out.Blocks)
		if n == 0 || out.Blocks[n-1].To-out.Blocks[n-1].From >= blockSize || out.Blocks[n-1].To != d.Start {
			out.Blocks = append(out.Blocks, Block{From: d.Start, First: d.Time, Last: d.Time, Tables: map[string][]Kind{}})
			n++
		}
		out.Blocks[n-1].add(d)
		return nil
	})
	return out, err
}

// Fits tells whether the index is of a log of that size, and one of ours.
func (x *Index) Fits(size int64) bool { return x.Version == indexVersion && x.Size == size }

func (b *Block) add(d Detail) {
	b.To = d.End
	b.First, b.Last = earlier(b.First, d.Time), later(b.Last, d.Time)
	b.Most = max(b.Most, d.Rows())
	for _, deed := range d.Deeds {
		b.Tables[deed.Table] = with(b.Tables[deed.Table], deed.Kind)
	}
	for _, s := range d.Statements {
		b.Stated = with(b.Stated, s.Kind)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func with(all []Kind, k Kind) []Kind {
	if slices.Contains(all, k) {
		return all
	}
	return append(all, k)
}

// Search calls fn for each transaction of a log that answers the question, in their order. ErrStop from fn ends it.
func (x *Index) Search(r io.ReaderAt, q *Question, fn func(Detail) error) error {
	for _, b := range x.Blocks {
		if !q.may(b) {
			continue
		}
		stopped := false
		moved := b.From - x.Head
		block := io.MultiReader(io.NewSectionReader(r, 0, x.Head), io.NewSectionReader(r, b.From, b.To-b.From))
		err := Describe(block, func(d Detail) error {
			d.Start, d.End = d.Start+moved, d.End+moved
			if !q.Answers(&d) {
				return nil
			}
			err := fn(d)
			stopped = errors.Is(err, ErrStop)
			return err
		})
		if err != nil || stopped {
			return err
		}
	}
	return nil
}
