package kopia

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/object"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/holdstill/holdstill/internal/extent"
	"github.com/holdstill/holdstill/internal/repository"
)

const (
	// flushEvery is how many bytes are sent between two writings of the index. What lies between is found again after a kill too,
	// from the packs themselves, which takes longer (recover.go).
	flushEvery = 1 << 30
	tellEvery  = 200 * time.Millisecond
)

type writer struct {
	store   *Store
	session repo.DirectRepositoryWriter
	of      repository.Session
	workers *semaphore.Weighted

	begun        time.Time
	checkpoints  sync.Mutex
	checkpointed time.Time // when it was last written down what is stored so far
	finished     []piece   // the segments of all files, for that

	zeros sync.Map // length in bytes -> object.ID of as many zeros

	counted struct{ read, kept, holes, uploaded atomic.Int64 }
	indexed atomic.Int64 // what was uploaded when the index was last written
	told    atomic.Int64
	flush   sync.Mutex
}

// workers is how many segments are dealt with at once: one compresses while another waits for the disk or the store. Each takes 4 MiB.
func workers() int { return min(2*runtime.GOMAXPROCS(0), 16) }

// Begin opens a session. What a session of the same instance left that was killed is found again first.
func (s *Store) Begin(ctx context.Context, of repository.Session) (repository.Writer, error) {
	if of.Chunk < 4096 || of.Chunk > segment || of.Chunk&(of.Chunk-1) != 0 {
		return nil, fmt.Errorf("cannot cut files into chunks of %d bytes: a power of two from 4096 to %d is wanted", of.Chunk, segment)
	}
	if err := s.repo.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("cannot read the repository: %w", meaning(err))
	}
	w := &writer{store: s, of: of, begun: time.Now(), checkpointed: time.Now()}
	if of.Kind == repository.KindPoint { // of a log at most one piece is sent again, and to look for it would cost more
		if err := s.adopt(ctx); err != nil {
			return nil, fmt.Errorf("cannot take up what an earlier session left: %w", err)
		}
	}
	_, session, err := s.repo.NewDirectWriter(ctx, repo.WriteSessionOptions{
		Purpose: "holdstill " + of.Instance, OnUpload: func(n int64) { w.counted.uploaded.Add(n); w.tell() },
	})
	if err != nil {
		return nil, fmt.Errorf("cannot open a session: %w", meaning(err))
	}
	w.session = session
	w.workers = semaphore.NewWeighted(int64(workers()))
	return w, nil
}

// Counts is how far the session has come.
func (w *writer) Counts() repository.Counts {
	c := &w.counted
	return repository.Counts{Read: c.read.Load(), Kept: c.kept.Load(), Holes: c.holes.Load(), Uploaded: c.uploaded.Load()}
}

func (w *writer) tell() {
	now, last := time.Now().UnixNano(), w.told.Load()
	if w.of.Progress != nil && now-last > int64(tellEvery) && w.told.CompareAndSwap(last, now) {
		w.of.Progress(w.Counts())
	}
}

// Put stores a file segment by segment, several at once.
func (w *writer) Put(ctx context.Context, f repository.File) (repository.Content, error) {
	if f.Size == 0 {
		id, err := w.write(ctx, nil, "", f.Name)
		return contentOf(id, 0), err
	}
	base, err := w.base(ctx, f)
	if err != nil {
		return "", fmt.Errorf("cannot read what is stored of %s: %w", f.Name, err)
	}
	segments := make([]piece, (f.Size+segment-1)/segment)
	group, inner := errgroup.WithContext(ctx)
	for i := range segments {
		p := &segments[i]
		p.Start = int64(i) * segment
		p.Length = min(segment, f.Size-p.Start)
		was := matching(base, i, *p)
		if was != nil && !f.Paranoid && !touches(f.Changed, p.Start, p.Length) {
			p.Object = was.Object
			w.finish(*p)
			w.counted.kept.Add(p.Length)
			continue
		}
		if err := w.workers.Acquire(inner, 1); err != nil {
			break // the group's error says why
		}
		group.Go(func() error {
			defer w.workers.Release(1)
			return w.segment(inner, f, p, was)
		})
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return "", fmt.Errorf("cannot store %s: %w", f.Name, meaning(err))
	}
	id, err := w.join(ctx, segments, f.Name)
	if err != nil {
		return "", fmt.Errorf("cannot store %s: %w", f.Name, meaning(err))
	}
	return contentOf(id, f.Size), w.flushSometimes(ctx)
}

// base reads the segments of the earlier version. What is not cut as we cut, such as a snapshot that the kopia program took, is no base.
func (w *writer) base(ctx context.Context, f repository.File) ([]piece, error) {
	if f.Base == "" {
		return nil, nil
	}
	id, length, err := parseContent(f.Base)
	if err != nil {
		return nil, err
	}
	if length <= segment {
		return []piece{{Length: length, Object: id}}, nil
	}
	return parts(ctx, w.session, id, length)
}

// matching is the earlier version of a segment, if it lay at the same place and was as long.
func matching(base []piece, i int, p piece) *piece {
	if i >= len(base) || base[i].Start != p.Start || base[i].Length != p.Length {
		return nil
	}
	return &base[i]
}

// touches tells whether any of the sorted ranges meets the length bytes at start.
func touches(ranges []extent.Range, start, length int64) bool {
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].End() > start }) // the first that ends behind start
	return i < len(ranges) && ranges[i].Offset < start+length
}

// segment stores one segment: the chunks of its earlier version that did not change, and the others from the file.
func (w *writer) segment(ctx context.Context, f repository.File, p *piece, was *piece) error {
	chunks, kept, err := w.chunks(ctx, f, *p, was)
	if err != nil {
		return err
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	data := (*buffer)[:p.Length]
	if err := w.load(f, p.Start, chunks, data); err != nil {
		return err
	}
	for i := range chunks {
		c := &chunks[i]
		if c.Object != object.EmptyID && !f.Paranoid {
			w.counted.kept.Add(c.Length)
			continue
		}
		id, err := w.chunk(ctx, f, p.Start+c.Start, data[c.Start:c.Start+c.Length])
		if err != nil {
			return err
		}
		if f.Paranoid && kept[i] && id != c.Object {
			return fmt.Errorf("the %d bytes at %d differ from the point before, although the file system says that they were not written since", c.Length, p.Start+c.Start)
		}
		c.Object = id
	}
	if p.Object, err = w.join(ctx, chunks, f.Name); err != nil {
		return err
	}
	w.finish(*p)
	w.tell()
	return w.checkpointSometimes(ctx)
}

// chunks cuts a segment; the chunks of the earlier version that are still good have their objects, and are marked as kept.
func (w *writer) chunks(ctx context.Context, f repository.File, p piece, was *piece) ([]piece, []bool, error) {
	size := int64(cmp.Or(f.Chunk, w.of.Chunk))
	out := make([]piece, (p.Length+size-1)/size)
	kept := make([]bool, len(out))
	for i := range out {
		out[i].Start = int64(i) * size
		out[i].Length = min(size, p.Length-out[i].Start)
	}
	if was == nil {
		return out, kept, nil
	}
	before, err := parts(ctx, w.session, was.Object, was.Length)
	if err != nil {
		return nil, nil, err
	}
	if len(before) != len(out) {
		return out, kept, nil // it was cut into other chunks
	}
	for i := range out {
		if before[i].Length == out[i].Length && !touches(f.Changed, p.Start+out[i].Start, out[i].Length) {
			out[i], kept[i] = before[i], true
		}
	}
	return out, kept, nil
}

// load reads the chunks of a segment that have to be read, those that lie beside each other at once.
func (w *writer) load(f repository.File, start int64, chunks []piece, data []byte) error {
	for from := 0; from < len(chunks); from++ {
		to := from
		for to < len(chunks) && !known(f, start, chunks[to]) {
			to++
		}
		if to == from {
			continue
		}
		last := chunks[to-1]
		if err := w.read(f, start+chunks[from].Start, data[chunks[from].Start:last.Start+last.Length]); err != nil {
			return err
		}
		from = to // which is known, or behind the end
	}
	return nil
}

// known tells whether a chunk need not be read: it is kept from the earlier version, or a hole.
func known(f repository.File, start int64, c piece) bool {
	return !f.Paranoid && (c.Object != object.EmptyID || hole(f, start+c.Start, c.Length))
}

func hole(f repository.File, at, length int64) bool {
	return f.Data != nil && !f.Paranoid && !touches(f.Data, at, length)
}

func (w *writer) read(f repository.File, at int64, data []byte) error {
	if n, err := f.Reader.ReadAt(data, at); n != len(data) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("cannot read %d bytes at %d: %w", len(data), at, err)
	}
	w.counted.read.Add(int64(len(data)))
	return nil
}

// chunk stores one chunk, whose data are there if it is no hole.
func (w *writer) chunk(ctx context.Context, f repository.File, at int64, data []byte) (object.ID, error) {
	if hole(f, at, int64(len(data))) {
		w.counted.holes.Add(int64(len(data)))
		return w.zero(ctx, len(data))
	}
	if isZero(data) {
		return w.zero(ctx, len(data))
	}
	return w.write(ctx, data, "", f.Name)
}

// zero is a chunk of zeros, stored once in a session.
func (w *writer) zero(ctx context.Context, length int) (object.ID, error) {
	if id, ok := w.zeros.Load(length); ok {
		return id.(object.ID), nil
	}
	id, err := w.write(ctx, make([]byte, length), "", "zeros")
	if err == nil {
		w.zeros.Store(length, id)
	}
	return id, err
}

var noughts [64 << 10]byte

func isZero(data []byte) bool {
	for len(data) > len(noughts) {
		if !bytes.Equal(data[:len(noughts)], noughts[:]) {
			return false
		}
		data = data[len(noughts):]
	}
	return bytes.Equal(data, noughts[:len(data)])
}

// flushSometimes writes the index of what was sent, so that a later session need not send it again.
func (w *writer) flushSometimes(ctx context.Context) error {
	sent := w.counted.uploaded.Load()
	if sent-w.indexed.Load() < flushEvery || !w.flush.TryLock() {
		return nil
	}
	defer w.flush.Unlock()
	w.indexed.Store(sent)
	return meaning(w.session.Flush(ctx))
}

// Close ends the session. Commit has flushed what belongs to a point; the rest is found by the next session.
func (w *writer) Close(ctx context.Context) error { return w.session.Close(ctx) }
