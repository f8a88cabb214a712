package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/holdstill/holdstill/internal/browse"
	"github.com/holdstill/holdstill/internal/repository"
)

// flaky is a tree with one file of four pieces, whose network fails a few times.
type flaky struct {
	repository.Tree
	content []byte
	faults  []int // after how many pieces that had to be fetched each attempt fails
	fetched int   // pieces, of all attempts
}

const pieceSize = 8

func (f *flaky) Root(context.Context) (*repository.Node, error) { return &repository.Node{}, nil }

func (f *flaky) Entries(context.Context, *repository.Node) ([]*repository.Node, error) {
	return []*repository.Node{{Name: "data"}}, nil
}

func (f *flaky) Fetch(_ context.Context, _ *repository.Node, to repository.Target, how repository.Fetching) error {
	room := -1
	if len(f.faults) > 0 {
		room, f.faults = f.faults[0], f.faults[1:]
	}
	for at := 0; at < len(f.content); at += pieceSize {
		piece, have := f.content[at:at+pieceSize], make([]byte, pieceSize)
		if how.Seed != nil {
			if n, _ := how.Seed.ReadAt(have, int64(at)); n == pieceSize && bytes.Equal(have, piece) {
				if _, err := to.WriteAt(piece, int64(at)); err != nil {
					return err
				}
				how.Progress(pieceSize, pieceSize)
				continue
			}
		}
		if room == 0 {
			return errors.New("the network is gone")
		}
		room--
		f.fetched++
		if _, err := to.WriteAt(piece, int64(at)); err != nil {
			return err
		}
		how.Progress(pieceSize, 0)
	}
	return nil
}

// TestFetchGoesOn: what is written and what the seed holds are not fetched again, and nothing is told twice.
func TestFetchGoesOn(t *testing.T) {
	dir := t.TempDir()
	f := &flaky{content: []byte("aaaaaaaabbbbbbbbccccccccdddddddd"), faults: []int{1, 1}}
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("XXXXXXXXYYYYYYYYZZZZZZZZdddddddd"), 0o600); err != nil {
		t.Fatal(err)
	}
	target, err := os.Create(filepath.Join(dir, "target"))
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	tree := &StoredTree{view: &browse.View{}, tree: f, seeds: []Seed{{Real: "/", Dir: dir}}, log: slog.New(slog.DiscardHandler), nodes: map[string][]*repository.Node{}}
	told := int64(0)
	if err := tree.Fetch(t.Context(), "/data", target, func(n int64) {
		if n < 0 {
			t.Errorf("progress goes back by %d", n)
		}
		told += n
	}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(target.Name()); !bytes.Equal(got, f.content) || f.fetched != 3 || told != int64(len(f.content)) {
		t.Errorf("%q, %d pieces fetched, %d bytes told", got, f.fetched, told)
	}
}

// TestSeedIsAFile: what is no file is no seed, and holds nobody up.
func TestSeedIsAFile(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "data"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := &StoredTree{seeds: []Seed{{Real: "/srv", Dir: dir}}}
	for _, real := range []string{"/srv/data", "/srv", "/srv/none"} {
		if f := tree.seed(real); f != nil {
			t.Errorf("%s is a seed", real)
		}
	}
}

func TestWrittenFallsBack(t *testing.T) {
	w := written{bytes.NewReader([]byte("aa\x00\x00cc\x00")), bytes.NewReader([]byte("AABB"))}
	for at, want := range []string{"aa", "a\x00", "BB", "\x00c", "cc"} {
		p := make([]byte, 2)
		if n, err := w.ReadAt(p, int64(at)); n != 2 || string(p) != want || err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("at %d: %q, %d, %v", at, p, n, err)
		}
	}
}
