// Package repositorytest is the conformance suite of every make of a repository.
package repositorytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	atomics "sync/atomic"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/extent"
	"github.com/holdstill/holdstill/internal/repository"
)

const (
	kib   = 1 << 10
	mib   = 1 << 20
	chunk = 16 * kib
)

// patience is how long one call may take: a store that hangs fails its test, and does not hold up all others.
const patience = 2 * time.Minute

// within is a context for one call.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// Remote are the tests where stores differ: what is only about the content is tried with one of them.
var Remote = []string{"what is put comes back", "nothing is uploaded twice", "hosts share a store", "a removed point is gone", "a log grows"}

// Run is the suite, or only some of its tests. Fresh makes an empty store, which Again opens a second time, as another host would.
func Run(t *testing.T, fresh func(testing.TB) repository.Store, again func(testing.TB, string) repository.Store, only ...string) {
	for _, c := range []struct {
		name string
		test func(*testing.T, repository.Store, func(testing.TB, string) repository.Store)
	}{
		{"what is put comes back", comesBack},
		{"a change costs what changed", costsByChange},
		{"a paranoid session finds a lie", findsLies},
		{"nothing is uploaded twice", resumes},
		{"nothing is seen before commit", atomic},
		{"hosts share a store", shared},
		{"a description can be replaced", described},
		{"a removed point is gone", removed},
		{"a seed saves fetching", seeded},
		{"a log grows", grows},
	} {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			store := fresh(t)
			t.Cleanup(func() { must(t, store.Close(context.Background())) })
			c.test(t, store, again)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Random are bytes that only a seed makes again.
func Random(seed uint64, n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(out)
	return out
}

// At is the moment of the nth point.
func At(n int) time.Time { return time.Date(2026, 11, 23, 7, n, 0, 0, time.UTC) }

// Describe makes a description.
func Describe(host, instance string, n int) repository.Description {
	entry, _ := json.Marshal(map[string]any{"id": fmt.Sprint("point-", n), "instance": instance})
	return repository.Description{Point: fmt.Sprintf("%s-%s-%d", host, instance, n), Instance: instance, Host: host, TakenAt: At(n), Entry: entry}
}

// file is a node with content.
func file(name string, c repository.Content, size int) *repository.Node {
	return &repository.Node{Name: name, Mode: 0o640, UID: 103, GID: 104, ModTime: At(1).Add(123456789), Size: int64(size), Content: c}
}

func dir(name string, entries ...*repository.Node) *repository.Node {
	return &repository.Node{Name: name, Mode: fs.ModeDir | 0o750, UID: 103, GID: 104, ModTime: At(2), Entries: entries}
}

func begin(t testing.TB, s repository.Store, host string) repository.Writer {
	t.Helper()
	w, err := s.Begin(within(t), repository.Session{Instance: "shop", Host: host, Chunk: chunk})
	must(t, err)
	return w
}

func put(t testing.TB, w repository.Writer, f repository.File) repository.Content {
	t.Helper()
	c, err := w.Put(within(t), f)
	must(t, err)
	return c
}

func whole(name string, data []byte) repository.File {
	return repository.File{Name: name, Reader: bytes.NewReader(data), Size: int64(len(data))}
}

// store puts one file into a point of its own.
func store(t testing.TB, s repository.Store, n int, f repository.File) (repository.Stored, repository.Content, repository.Counts) {
	t.Helper()
	w := begin(t, s, "a")
	c := put(t, w, f)
	p, err := w.Commit(within(t), dir("", file("data", c, int(f.Size))), Describe("a", "shop", n))
	must(t, err)
	counts := w.Counts()
	must(t, w.Close(within(t)))
	return p, c, counts
}

// target is memory that is fetched into.
type target struct{ data []byte }

func (g *target) WriteAt(p []byte, at int64) (int, error) { return copy(g.data[at:], p), nil }

// fetch reads a file of a point in both ways.
func fetch(t testing.TB, s repository.Store, p repository.Stored, name string) []byte {
	t.Helper()
	tree, err := s.Open(within(t), p)
	must(t, err)
	n := entry(t, tree, name)
	g := &target{make([]byte, n.Size)}
	done := int64(0)
	ch := make(chan int64, 1<<16)
	must(t, tree.Fetch(within(t), n, g, repository.Fetching{Progress: func(b, _ int64) { ch <- b }}))
	close(ch)
	for b := range ch {
		done += b
	}
	if done != n.Size {
		t.Fatalf("progress told of %d bytes of %d", done, n.Size)
	}
	r, err := tree.Open(within(t), n)
	must(t, err)
	defer r.Close()
	other, err := io.ReadAll(io.NewSectionReader(r, 0, n.Size))
	must(t, err)
	if !bytes.Equal(g.data, other) {
		t.Fatalf("%s: fetched and read differ", name)
	}
	must(t, tree.Close(within(t)))
	return other
}

func entry(t testing.TB, tree repository.Tree, name string) *repository.Node {
	t.Helper()
	root, err := tree.Root(within(t))
	must(t, err)
	entries, err := tree.Entries(within(t), root)
	must(t, err)
	i := slices.IndexFunc(entries, func(n *repository.Node) bool { return n.Name == name })
	if i < 0 {
		t.Fatalf("no %s in the root", name)
	}
	return entries[i]
}

func comesBack(t *testing.T, s repository.Store, _ func(testing.TB, string) repository.Store) {
	w := begin(t, s, "a")
	sizes := []int{0, 1, 4095, chunk, chunk + 1, 4 * mib, 4*mib + 1, 9*mib + 12345}
	var files []*repository.Node
	for i, size := range sizes {
		data := Random(uint64(i), size)
		if size > 5*mib {
			clear(data[mib : 6*mib]) // zeros over a whole segment and parts of two
		}
		name := fmt.Sprint("file-", size)
		files = append(files, file(name, put(t, w, whole(name, data)), size))
	}
	link := &repository.Node{Name: "link", Mode: fs.ModeSymlink | 0o777, UID: 1, GID: 2, ModTime: At(3), Target: "../else where"}
	p, err := w.Commit(within(t), dir("", append(files, link, dir("sub", dir("empty")))...), Describe("a", "shop", 1))
	must(t, err)
	must(t, w.Close(within(t)))
	for i, size := range sizes {
		want := Random(uint64(i), size)
		if size > 5*mib {
			clear(want[mib : 6*mib])
		}
		if got := fetch(t, s, p, fmt.Sprint("file-", size)); !bytes.Equal(got, want) {
			t.Errorf("the file of %d bytes is not what was put", size)
		}
	}
	tree, err := s.Open(within(t), p)
	must(t, err)
	if n := entry(t, tree, "link"); n.Target != "../else where" || n.Mode&fs.ModeSymlink == 0 {
		t.Errorf("the symlink is %+v", n)
	}
	if n := entry(t, tree, "file-1"); n.Mode != 0o640 || n.UID != 103 || n.GID != 104 || !n.ModTime.Equal(At(1).Add(123456789)) || n.Size != 1 {
		t.Errorf("the file is %+v", n)
	}
	n := entry(t, tree, "sub")
	if n.Mode != fs.ModeDir|0o750 || !n.ModTime.Equal(At(2)) {
		t.Errorf("the directory is %+v", n)
	}
	if below, err := tree.Entries(within(t), n); err != nil || len(below) != 1 || below[0].Name != "empty" {
		t.Errorf("below it: %v, %v", below, err)
	}
	if h, err := s.Check(within(t), repository.CheckOptions{Read: 100}); err != nil || len(h.Damages) > 0 || h.Points != 1 || h.Files < len(sizes) {
		t.Errorf("check: %+v, %v", h, err)
	}
}

// changed rewrites random pages of data and tells where.
func changed(seed uint64, data []byte, pages int) ([]byte, []extent.Range) {
	out := bytes.Clone(data)
	r := rand.New(rand.NewPCG(seed, 1))
	var ranges []extent.Range
	for i, page := range r.Perm(len(data) / chunk)[:pages] {
		copy(out[page*chunk:], Random(seed+uint64(i), chunk))
		ranges = append(ranges, extent.Range{Offset: int64(page) * chunk, Length: chunk})
	}
	slices.SortFunc(ranges, func(a, b extent.Range) int { return int(a.Offset - b.Offset) })
	return out, ranges
}

func costsByChange(t *testing.T, s repository.Store, _ func(testing.TB, string) repository.Store) {
	const pages = 40
	was := Random(7, 40*mib+777)
	_, base, first := store(t, s, 1, whole("data", was))
	if first.Read != int64(len(was)) || first.Uploaded < int64(len(was)) {
		t.Fatalf("the first session: %+v", first)
	}
	now, ranges := changed(8, was, pages)
	f := whole("data", now)
	f.Base, f.Changed = base, ranges
	p, _, counts := store(t, s, 2, f)
	if counts.Read != pages*chunk || counts.Done() != int64(len(now)) {
		t.Errorf("%d pages changed; read and kept: %+v", pages, counts)
	}
	if counts.Uploaded > pages*chunk*2+mib {
		t.Errorf("%d bytes changed and %d were uploaded", pages*chunk, counts.Uploaded)
	}
	if got := fetch(t, s, p, "data"); !bytes.Equal(got, now) {
		t.Error("what was put on a base is not what came back")
	}
	for _, size := range []int{3 * mib, 4 * mib, 44 * mib, 40*mib + 700} { // truncated and grown
		resized := make([]byte, size)
		copy(resized, now)
		f := whole("data", resized)
		f.Base = base
		f.Changed = ranges
		if size > len(now) {
			f.Changed = append(slices.Clone(ranges), extent.Range{Offset: int64(len(was)), Length: int64(size - len(was))})
		}
		p, _, _ := store(t, s, size, f)
		if got := fetch(t, s, p, "data"); !bytes.Equal(got, resized) {
			t.Errorf("resized to %d: not what came back", size)
		}
	}
}

func findsLies(t *testing.T, s repository.Store, _ func(testing.TB, string) repository.Store) {
	was := Random(9, 9*mib)
	_, base, _ := store(t, s, 1, whole("data", was))
	now, ranges := changed(10, was, 3)
	f := whole("data", now)
	f.Base, f.Changed, f.Paranoid = base, ranges, true
	_, _, counts := store(t, s, 2, f)
	if counts.Read != int64(len(now)) {
		t.Errorf("a paranoid session read %d of %d bytes", counts.Read, len(now))
	}
	f.Changed = ranges[1:]
	w := begin(t, s, "a")
	if _, err := w.Put(within(t), f); err == nil {
		t.Error("a change that was kept secret was not found")
	}
	must(t, w.Close(within(t)))
}

func resumes(t *testing.T, s repository.Store, again func(testing.TB, string) repository.Store) {
	data := Random(11, 48*mib)
	w := begin(t, s, "a")
	put(t, w, whole("data", data[:32*mib]))
	before := w.Counts().Uploaded
	// killed here: no Close, and whatever lay in memory is lost
	if before == 0 {
		t.Fatal("nothing was sent before the kill: the test proves nothing")
	}
	other := again(t, "a")
	defer func() { must(t, other.Close(context.Background())) }()
	p, _, counts := store(t, other, 1, whole("data", data))
	if sent := before + counts.Uploaded; sent > int64(len(data))+2*mib {
		t.Errorf("%d bytes were sent for %d: %d before the kill, %d after", sent, len(data), before, counts.Uploaded)
	}
	if got := fetch(t, other, p, "data"); !bytes.Equal(got, data) {
		t.Error("what was resumed is not what came back")
	}
}

func atomic(t *testing.T, s repository.Store, again func(testing.TB, string) repository.Store) {
	w := begin(t, s, "a")
	put(t, w, whole("data", Random(12, mib)))
	other := again(t, "b")
	defer func() { must(t, other.Close(context.Background())) }()
	if points, err := other.Points(within(t)); err != nil || len(points) > 0 {
		t.Errorf("before commit: %d points, %v", len(points), err)
	}
	must(t, w.Close(within(t)))
	if points, err := other.Points(within(t)); err != nil || len(points) > 0 {
		t.Errorf("after a close without commit: %d points, %v", len(points), err)
	}
}

func shared(t *testing.T, s repository.Store, again func(testing.TB, string) repository.Store) {
	other := again(t, "b")
	defer func() { must(t, other.Close(context.Background())) }()
	a, b := begin(t, s, "a"), begin(t, other, "b")
	data := [][]byte{Random(13, 6*mib), Random(14, 6*mib)}
	done := make(chan error)
	ctx := within(t)
	for i, w := range []repository.Writer{a, b} {
		go func() {
			c, err := w.Put(ctx, whole("data", data[i]))
			if err == nil {
				_, err = w.Commit(ctx, dir("", file("data", c, len(data[i]))), Describe(string(rune('a'+i)), "shop", i))
			}
			done <- errors.Join(err, w.Close(ctx))
		}()
	}
	for range 2 {
		must(t, <-done)
	}
	for _, reader := range []repository.Store{s, other} {
		points, err := reader.Points(within(t))
		must(t, err)
		if len(points) != 2 || points[0].Host != "a" || points[1].Host != "b" {
			t.Fatalf("points: %+v", points)
		}
		for i, p := range points {
			if got := fetch(t, reader, p, "data"); !bytes.Equal(got, data[i]) {
				t.Errorf("the point of %s is not what was put", p.Host)
			}
		}
	}
}

func described(t *testing.T, s repository.Store, _ func(testing.TB, string) repository.Store) {
	p, _, _ := store(t, s, 1, whole("data", Random(15, mib)))
	d := p.Description
	d.Pinned, d.Entry = true, json.RawMessage(`{"id":"other"}`)
	_, err := s.Describe(within(t), p, d)
	must(t, err)
	points, err := s.Points(within(t))
	must(t, err)
	if len(points) != 1 || !points[0].Pinned || string(points[0].Entry) != `{"id":"other"}` || !points[0].TakenAt.Equal(d.TakenAt) {
		t.Fatalf("described: %+v", points)
	}
	if got := fetch(t, s, p, "data"); !bytes.Equal(got, Random(15, mib)) { // by the old handle
		t.Error("the content is not what was put")
	}
}

func removed(t *testing.T, s repository.Store, _ func(testing.TB, string) repository.Store) {
	data := Random(16, 5*mib)
	first, base, _ := store(t, s, 1, whole("data", data))
	f := whole("data", data)
	f.Base = base
	second, _, _ := store(t, s, 2, f)
	for range 2 {
		must(t, s.Remove(within(t), first))
	}
	if _, err := s.Open(within(t), first); !errors.Is(err, repository.ErrNotThere) {
		t.Errorf("opening a removed point: %v", err)
	}
	if _, err := s.Maintain(within(t)); err != nil {
		t.Error(err)
	}
	if points, err := s.Points(within(t)); err != nil || len(points) != 1 {
		t.Errorf("%d points, %v", len(points), err)
	}
	if got := fetch(t, s, second, "data"); !bytes.Equal(got, data) {
		t.Error("the point that took over the content of the removed one lost it")
	}
}

func seeded(t *testing.T, s repository.Store, _ func(testing.TB, string) repository.Store) {
	const pages = 10
	data := Random(17, 9*mib+100)
	clear(data[2*mib : 3*mib])
	p, _, _ := store(t, s, 1, whole("data", data))
	tree, err := s.Open(within(t), p)
	must(t, err)
	other, _ := changed(18, data, pages)
	for name, c := range map[string]struct {
		seed []byte
		want int64
	}{"an older version": {other, int64(len(data)) - pages*chunk}, "the same": {data, int64(len(data))}, "a part": {data[:4*mib], 4 * mib}, "nothing": {nil, 0}} {
		g := &target{make([]byte, len(data))}
		var sum atomics.Int64
		must(t, tree.Fetch(within(t), entry(t, tree, "data"), g, repository.Fetching{Seed: bytes.NewReader(c.seed), Progress: func(_, b int64) { sum.Add(b) }}))
		if !bytes.Equal(g.data, data) {
			t.Errorf("%s: not what was put", name)
		}
		if sum.Load() != c.want {
			t.Errorf("%s: %d bytes came from the seed, not %d", name, sum.Load(), c.want)
		}
	}
}
