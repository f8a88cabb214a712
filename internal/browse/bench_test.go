package browse

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/repository"
)

// BenchmarkRead: a file that nobody has read yet, through a new view each time, in order and page by page at random.
func BenchmarkRead(b *testing.B) {
	const size = 256 * mib
	s := keep(b, map[string]int{"ibdata1": size})
	b.Run("fetch", func(b *testing.B) { // what the store itself gives, for comparison
		b.SetBytes(size)
		n := find(b, s.tree)
		for range b.N {
			must(b, s.tree.Fetch(b.Context(), n, nowhere{}, repository.Fetching{}))
		}
	})
	for _, piece := range []int{16 << 10, mib} {
		b.Run(fmt.Sprint("in order by ", piece>>10, " KiB"), func(b *testing.B) {
			b.SetBytes(size)
			buffer := make([]byte, piece)
			for range b.N {
				f := fresh(b, s)
				for at := int64(0); at < size; at += int64(piece) {
					given(f.ReadAt(buffer, at))(b)
				}
				must(b, f.Close())
			}
		})
	}
	b.Run("at random by 16 KiB", func(b *testing.B) {
		f := fresh(b, s)
		defer f.Close()
		must(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM))
		r := rand.New(rand.NewPCG(1, 2))
		buffer := make([]byte, chunk)
		b.ResetTimer()
		for range b.N {
			if _, err := f.ReadAt(buffer, r.Int64N(size/chunk)*chunk); err != nil && err != io.EOF {
				b.Fatal(err)
			}
		}
	})
}

type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func find(b *testing.B, tree repository.Tree) *repository.Node {
	at := given(tree.Root(b.Context()))(b)
	for _, name := range []string{"var", "lib", "mysql", "ibdata1"} {
		for _, n := range given(tree.Entries(b.Context(), at))(b) {
			if n.Name == name {
				at = n
				break
			}
		}
	}
	return at
}

func fresh(b *testing.B, s *stored) *os.File {
	return given(os.Open(s.private(b).Path() + data + "ibdata1"))(b)
}
