package kopia_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/repository/kopia"
	"github.com/holdstill/holdstill/internal/repository/repositorytest"
)

// damages are what happens to files of a store.
var damages = map[string]func(string) error{
	"flipped": func(file string) error { return rewrite(file, func(b []byte) []byte { flip(b); return b }) },
	"cut":     func(file string) error { return rewrite(file, func(b []byte) []byte { return b[:len(b)/3] }) },
	"missing": os.Remove,
}

// flip changes single bits all over: small contents lie between them, and one bit would miss most.
func flip(b []byte) {
	for i := 40; i < len(b); i += max(64, len(b)/4096) {
		b[i] ^= 1
	}
}

func rewrite(file string, change func([]byte) []byte) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, change(content), 0o600)
}

// damagedFiles are the contents of the points' files.
func damagedFiles() map[string][]byte {
	return map[string][]byte{"long": repositorytest.Random(1, 11<<20), "short": repositorytest.Random(2, 100<<10), "tiny": []byte("tiny"), "empty": nil}
}

// fill stores two points, of two hosts, with the same files.
func fill(t *testing.T, p *place) {
	t.Helper()
	s := p.make(t)
	for _, host := range []string{"a", "b"} {
		w, err := s.Begin(t.Context(), repository.Session{Instance: "shop", Host: host, Chunk: 16 << 10})
		ok(t, err)
		root := &repository.Node{Mode: fs.ModeDir | 0o755, ModTime: repositorytest.At(1)}
		for name, data := range damagedFiles() {
			c, err := w.Put(t.Context(), repository.File{Name: name, Reader: bytes.NewReader(data), Size: int64(len(data))})
			ok(t, err)
			root.Entries = append(root.Entries, &repository.Node{Name: name, Mode: 0o640, ModTime: repositorytest.At(1), Size: int64(len(data)), Content: c})
		}
		_, err = w.Commit(t.Context(), root, repositorytest.Describe(host, "shop", 1))
		ok(t, err)
		ok(t, w.Close(t.Context()))
	}
	ok(t, s.Close(t.Context()))
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// largest is the longest file of a directory store whose name in the store has the prefix, and that name.
func largest(t *testing.T, dir, prefix string) (name, file string) {
	t.Helper()
	most := int64(-1)
	ok(t, filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, at)
		blob := strings.TrimSuffix(strings.ReplaceAll(rel, "/", ""), ".f")
		if info, _ := d.Info(); info != nil && strings.HasPrefix(blob, prefix) && info.Size() > most {
			most, name, file = info.Size(), blob, rel
		}
		return nil
	}))
	if most < 0 {
		t.Fatalf("there is no blob %s*", prefix)
	}
	return name, file
}

// TestDamage hurts a pack of data, one of directories, and an index in each way: what is read is right or an error, and a check says what
// is the matter.
func TestDamage(t *testing.T) {
	p := directory(t)
	fill(t, p)
	for _, prefix := range []string{"p", "q", "x"} {
		name, file := largest(t, p.location.URL, prefix)
		for kind, damage := range damages {
			t.Run(prefix+" "+kind, func(t *testing.T) {
				copied := &place{location: p.location, states: scratch(t)}
				copied.location.URL = filepath.Join(scratch(t), "store")
				ok(t, os.CopyFS(copied.location.URL, os.DirFS(p.location.URL)))
				ok(t, damage(filepath.Join(copied.location.URL, file)))
				told := examine(t, copied)
				if !strings.Contains(told, name) && (prefix != "x" || kind != "missing") { // that an index was there nobody knows
					t.Errorf("nobody says that %s is %s", name, kind)
				}
				if prefix == "p" && !(strings.Contains(told, "check: a-shop-1 /long") && strings.Contains(told, "check: b-shop-1 /long")) {
					t.Errorf("the check does not say which point and file are hit:\n%s", told)
				}
			})
		}
	}
}

// examine reads everything that can be read as a host that was never here, and gives what was said of damage.
func examine(t *testing.T, p *place) string {
	t.Helper()
	s, err := kopia.Open(t.Context(), p.settings("c"))
	if err != nil {
		return "open: " + err.Error()
	}
	defer func() { ok(t, s.Close(t.Context())) }()
	var told strings.Builder
	points, err := s.Points(t.Context())
	if err != nil {
		fmt.Fprintln(&told, "points:", err)
		if !errors.Is(err, repository.ErrDamaged) {
			t.Errorf("that the points cannot be listed is no damage: %v", err)
		}
	}
	for _, point := range points {
		if err := readAll(t, s, point); err != nil {
			fmt.Fprintln(&told, "read:", err)
		}
	}
	health, err := s.Check(t.Context(), repository.CheckOptions{Read: 100})
	if err != nil {
		fmt.Fprintln(&told, "check:", err)
	}
	for _, d := range health.Damages {
		fmt.Fprintln(&told, "check:", d.Point, d.File, d.Text)
	}
	if readable := !strings.Contains(told.String(), "read:") && !strings.Contains(told.String(), "points:"); readable != !strings.Contains(told.String(), "check:") {
		t.Errorf("what is read and what the check says differ:\n%s", told.String())
	}
	return told.String()
}

// readAll reads all files of a point in both ways; wrong bytes fail the test.
func readAll(t *testing.T, s repository.Store, p repository.Stored) error {
	t.Helper()
	tree, err := s.Open(t.Context(), p)
	if err != nil {
		return err
	}
	defer tree.Close(t.Context())
	root, err := tree.Root(t.Context())
	if err != nil {
		return err
	}
	entries, err := tree.Entries(t.Context(), root)
	if err != nil {
		return err
	}
	var last error
	for name, want := range damagedFiles() {
		i := slices.IndexFunc(entries, func(n *repository.Node) bool { return n.Name == name })
		if i < 0 {
			t.Errorf("%s is not listed, and nobody says why", name)
			continue
		}
		if err := same(t, tree, entries[i], want); err != nil {
			if last = err; !errors.Is(err, repository.ErrDamaged) {
				t.Errorf("%s: this is no damage: %v", name, err)
			}
		}
	}
	return last
}

func same(t *testing.T, tree repository.Tree, n *repository.Node, want []byte) error {
	t.Helper()
	got := &memory{make([]byte, n.Size)}
	fetched := tree.Fetch(t.Context(), n, got, repository.Fetching{})
	if fetched == nil && !bytes.Equal(got.data, want) {
		t.Errorf("%s was fetched with other bytes", n.Name)
	}
	r, err := tree.Open(t.Context(), n)
	if err == nil {
		defer r.Close()
		var other []byte
		if other, err = io.ReadAll(io.NewSectionReader(r, 0, n.Size)); err == nil && !bytes.Equal(other, want) {
			t.Errorf("%s was read with other bytes", n.Name)
		}
	}
	if (err == nil) != (fetched == nil) {
		t.Errorf("%s: fetch says %v, read %v", n.Name, fetched, err)
	}
	return err
}

// memory is what is fetched into.
type memory struct{ data []byte }

func (m *memory) WriteAt(p []byte, at int64) (int, error) { return copy(m.data[at:], p), nil }
