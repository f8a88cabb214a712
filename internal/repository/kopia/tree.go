package kopia

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"sync"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"
	"golang.org/x/sync/errgroup"

	"github.com/holdstill/holdstill/internal/repository"
)

type tree struct {
	repo  opener // for directories
	root  *snapshot.DirEntry
	packs *packs   // for files; nil: all goes the library's way
	zeros sync.Map // object.ID: objects that are nothing but zeros

	reading func(context.Context) (repo.DirectRepository, error)
	mu      sync.Mutex
	library repo.DirectRepository // set by foreign
}

// Open reads a stored point or log.
func (s *Store) Open(ctx context.Context, p repository.Stored) (repository.Tree, error) {
	all, err := s.manifestsOf(ctx, p.Kind, p.Point)
	if err != nil {
		return nil, err
	}
	packs, err := newPacks(s.repo)
	if err != nil {
		return nil, err
	}
	return &tree{repo: s.repo, root: all[0].RootEntry, packs: packs, reading: s.reading}, nil
}

// Root is the top directory.
func (t *tree) Root(context.Context) (*repository.Node, error) {
	return node(t.root), nil
}

// node is an entry; a symlink's target is filled in by Entries.
func node(e *snapshot.DirEntry) *repository.Node {
	mode := fs.FileMode(e.Permissions) & fs.ModePerm
	switch e.Type {
	case snapshot.EntryTypeDirectory:
		mode |= fs.ModeDir
	case snapshot.EntryTypeSymlink:
		mode |= fs.ModeSymlink
	}
	return &repository.Node{Name: e.Name, Mode: mode, UID: e.UserID, GID: e.GroupID, ModTime: e.ModTime.ToTime(),
		Size: e.FileSize, Content: contentOf(e.ObjectID, e.FileSize)}
}

// Entries lists a directory.
func (t *tree) Entries(ctx context.Context, dir *repository.Node) ([]*repository.Node, error) {
	id, _, err := parseContent(dir.Content)
	if err != nil {
		return nil, err
	}
	entries, err := t.raw(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("cannot read the directory %s: %w", dir.Name, err)
	}
	out := make([]*repository.Node, 0, len(entries))
	for _, e := range entries {
		n := node(e)
		if n.Mode&fs.ModeSymlink != 0 {
			target, err := read(ctx, t.repo, e.ObjectID)
			if err != nil {
				return nil, fmt.Errorf("cannot read the symlink %s: %w", e.Name, err)
			}
			n.Target = string(target)
		}
		out = append(out, n)
	}
	return out, nil
}

// raw reads a directory as kopia stores it.
func (t *tree) raw(ctx context.Context, id object.ID) ([]*snapshot.DirEntry, error) {
	raw, err := read(ctx, t.repo, id)
	if err != nil {
		return nil, err
	}
	var m snapshot.DirManifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", repository.ErrDamaged, err)
	}
	return m.Entries, nil
}

// Close has nothing to close: the tree lives with the store.
func (t *tree) Close(context.Context) error { return nil }

// segments are the segments of a file, and how each is read.
func (t *tree) segments(ctx context.Context, n *repository.Node) ([]piece, error) {
	id, length, err := parseContent(n.Content)
	if err != nil || length == 0 {
		return nil, err
	}
	if length <= segment {
		return []piece{{Length: length, Object: id}}, nil
	}
	return t.parts(ctx, id, length)
}

// parts are the pieces of an object of a file.
func (t *tree) parts(ctx context.Context, id object.ID, length int64) ([]piece, error) {
	under, indirect := id.IndexObjectID()
	if !indirect {
		return []piece{{Length: length, Object: id}}, nil
	}
	raw, err := t.index(ctx, under)
	if err != nil {
		return nil, err
	}
	return parse(raw, under, length)
}

func (t *tree) index(ctx context.Context, id object.ID) ([]byte, error) {
	if name, ours := t.ours(id); ours {
		length, err := t.packs.length(ctx, name)
		if err != nil {
			return nil, err
		}
		raw := make([]byte, length)
		return raw, t.packs.get(ctx, name, raw)
	}
	r, err := t.foreign(ctx)
	if err != nil {
		return nil, err
	}
	return read(ctx, r, id)
}

// ours is the content that an object is, if it is a single one, as we write them.
func (t *tree) ours(id object.ID) (content.ID, bool) {
	name, compressed, direct := id.ContentID()
	return name, t.packs != nil && direct && !compressed
}

// load reads a segment into data, chunk by chunk, those that the seed holds from there. It tells how many bytes those were.
func (t *tree) load(ctx context.Context, s piece, data []byte, seed *seed) (int64, error) {
	chunks, err := t.parts(ctx, s.Object, s.Length)
	if err != nil {
		return 0, err
	}
	seeded := int64(0)
	for _, c := range chunks {
		into := data[c.Start : c.Start+c.Length]
		if seed.holds(c, s.Start+c.Start, into) {
			seeded += c.Length
			continue
		}
		if err := t.chunk(ctx, c, into); err != nil {
			return seeded, err
		}
	}
	return seeded, nil
}

// chunk reads a chunk. The one of zeros, which a database has many of, is read once.
func (t *tree) chunk(ctx context.Context, c piece, into []byte) error {
	if _, known := t.zeros.Load(c.Object); known {
		clear(into)
		return nil
	}
	name, ours := t.ours(c.Object)
	if !ours { // a deeper index, or a repository of an old format
		return t.stream(ctx, c.Object, into)
	}
	if err := t.packs.get(ctx, name, into); err != nil {
		return err
	}
	if isZero(into) {
		t.zeros.Store(c.Object, nil)
	}
	return nil
}

// stream reads an object in the way of kopia's library.
func (t *tree) stream(ctx context.Context, id object.ID, into []byte) error {
	library, err := t.foreign(ctx)
	if err != nil {
		return err
	}
	r, err := library.OpenObject(ctx, id)
	if err != nil {
		return meaning(err)
	}
	defer func() { _ = r.Close() }()
	_, err = io.ReadFull(r, into)
	return meaning(err)
}

// foreign is the repository for what was not written by us, or is stored in another way than ours. Most trees do without this second
// connection, whose password alone takes a third of a second.
func (t *tree) foreign(ctx context.Context) (repo.DirectRepository, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.library != nil {
		return t.library, nil
	}
	r, err := t.reading(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot open the files of the point: %w", meaning(err))
	}
	t.library = r
	return r, nil
}

// Fetch writes a file to the target, several segments at once. Contents are authenticated when they are decrypted, so a byte that is not
// the stored one is an error and never written.
func (t *tree) Fetch(ctx context.Context, n *repository.Node, to repository.Target, f repository.Fetching) error {
	segments, err := t.segments(ctx, n)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", n.Name, err)
	}
	seed := t.seed(f.Seed)
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(workers())
	for _, s := range segments {
		group.Go(func() error {
			if err := inner.Err(); err != nil {
				return err
			}
			seeded, err := t.fetch(inner, s, to, seed)
			if err != nil {
				return fmt.Errorf("cannot fetch %s at %d: %w", n.Name, s.Start, err)
			}
			if f.Progress != nil {
				f.Progress(s.Length, seeded)
			}
			return nil
		})
	}
	return group.Wait()
}

// buffers are as long as a segment of ours.
var buffers = sync.Pool{New: func() any { b := make([]byte, segment); return &b }}

func (t *tree) fetch(ctx context.Context, s piece, to repository.Target, seed *seed) (int64, error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	data := *buffer
	if s.Length > segment { // not cut by us
		data = make([]byte, s.Length)
	}
	data = data[:s.Length]
	seeded, err := t.load(ctx, s, data, seed)
	if err != nil {
		return 0, err
	}
	return seeded, writeData(to, data, s.Start)
}

// writeData writes what is not zero, so that holes stay holes.
func writeData(to repository.Target, data []byte, at int64) error {
	const grain = 4096
	for from := 0; from < len(data); {
		end := min(from+grain, len(data))
		if isZero(data[from:end]) {
			from = end
			continue
		}
		for end < len(data) && !isZero(data[end:min(end+grain, len(data))]) {
			end = min(end+grain, len(data))
		}
		if _, err := to.WriteAt(data[from:end], at+int64(from)); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// Open opens a file for reading at random.
func (t *tree) Open(ctx context.Context, n *repository.Node) (repository.Reader, error) {
	segments, err := t.segments(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", n.Name, err)
	}
	return &reader{tree: t, ctx: context.WithoutCancel(ctx), name: n.Name, size: n.Size, segments: segments}, nil
}

// reader reads a file chunk by chunk; the store keeps blocks of what it read in memory.
type reader struct {
	tree     *tree
	ctx      context.Context // of a file that stays open longer than the call that opened it
	name     string
	size     int64
	segments []piece

	mu    sync.Mutex
	last  object.ID // whose chunks are known
	parts []piece
}

func (r *reader) ReadAt(p []byte, at int64) (int, error) {
	done := 0
	for done < len(p) && at < r.size {
		n, err := r.part(p[done:], at)
		done, at = done+n, at+int64(n)
		if err != nil {
			return done, fmt.Errorf("cannot read %s at %d: %w", r.name, at, err)
		}
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// part reads from one chunk.
func (r *reader) part(p []byte, at int64) (int, error) {
	s := r.segments[find(r.segments, at)]
	chunks, err := r.chunks(s)
	if err != nil {
		return 0, err
	}
	within := at - s.Start
	c := chunks[find(chunks, within)]
	if within == c.Start && int64(len(p)) >= c.Length {
		return int(c.Length), r.tree.chunk(r.ctx, c, p[:c.Length])
	}
	whole := make([]byte, c.Length)
	if err := r.tree.chunk(r.ctx, c, whole); err != nil {
		return 0, err
	}
	return copy(p, whole[within-c.Start:]), nil
}

func (r *reader) chunks(s piece) ([]piece, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == s.Object && r.parts != nil {
		return r.parts, nil
	}
	chunks, err := r.tree.parts(r.ctx, s.Object, s.Length)
	if err != nil {
		return nil, err
	}
	r.last, r.parts = s.Object, chunks
	return chunks, nil
}

// find is the piece that holds the byte at a place.
func find(pieces []piece, at int64) int {
	return sort.Search(len(pieces), func(i int) bool { return pieces[i].Start > at }) - 1
}

func (r *reader) Close() error { return nil }
