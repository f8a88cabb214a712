package browse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/repository/kopia"
	"github.com/holdstill/holdstill/internal/repository/repositorytest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func given[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// stored is a point in a store of its own.
type stored struct {
	dir     string // of the store
	store   repository.Store
	point   repository.Stored
	tree    repository.Tree
	content map[string][]byte
}

const (
	mib   = 1 << 20
	chunk = 16 << 10
)

// keep stores files of random content at var/lib/mysql, beside a symlink, an empty directory and one of many entries.
func keep(t testing.TB, sizes map[string]int) *stored {
	t.Helper()
	base := t.TempDir()
	s := &stored{dir: filepath.Join(base, "store"), content: map[string][]byte{}}
	s.store = given(kopia.Init(t.Context(), kopia.Settings{Location: kopia.Location{URL: s.dir}, Password: "secret secret",
		Host: "a", Dir: filepath.Join(base, "state")}))(t)
	t.Cleanup(func() { must(t, s.store.Close(context.Background())) })
	w := given(s.store.Begin(t.Context(), repository.Session{Instance: "shop", Host: "a", Chunk: chunk}))(t)
	data := folder("mysql", 0o750)
	for name, size := range sizes {
		s.content[name] = repositorytest.Random(uint64(len(name)), size)
		c := given(w.Put(t.Context(), repository.File{Name: name, Reader: bytes.NewReader(s.content[name]), Size: int64(size)}))(t)
		data.Entries = append(data.Entries, &repository.Node{Name: name, Mode: 0o640, UID: 103, GID: 104, ModTime: repositorytest.At(1).Add(123456789),
			Size: int64(size), Content: c})
	}
	many := folder("many", 0o755)
	empty := given(w.Put(t.Context(), repository.File{Name: "empty", Reader: bytes.NewReader(nil)}))(t)
	for i := range 3000 {
		many.Entries = append(many.Entries, &repository.Node{Name: "t" + string(rune('a'+i%26)) + time.Duration(i).String(), Mode: 0o600, Content: empty, ModTime: repositorytest.At(2)})
	}
	data.Entries = append(data.Entries, folder("none", 0o700), many, &repository.Node{Name: "link", Mode: fs.ModeSymlink | 0o777, Target: "/srv/else where", ModTime: repositorytest.At(3)})
	root := folder("", 0o755, folder("var", 0o755, folder("lib", 0o755, data)))
	entry := given(json.Marshal(map[string]string{"id": "p1"}))(t)
	s.point = given(w.Commit(t.Context(), root, repository.Description{Point: "p1", Instance: "shop", Host: "a", TakenAt: repositorytest.At(1), Entry: entry}))(t)
	must(t, w.Close(t.Context()))
	s.tree = given(s.store.Open(t.Context(), s.point))(t)
	return s
}

func folder(name string, mode fs.FileMode, entries ...*repository.Node) *repository.Node {
	return &repository.Node{Name: name, Mode: fs.ModeDir | mode, UID: 103, GID: 104, ModTime: repositorytest.At(2), Entries: entries}
}

func (s *stored) private(t testing.TB) *View {
	t.Helper()
	v := given(Private(t.Context(), s.tree, slog.New(slog.DiscardHandler)))(t)
	t.Cleanup(func() { must(t, v.Close()) })
	return v
}

const data = "/var/lib/mysql/"

func TestPrivateShowsWhatIsStored(t *testing.T) {
	s := keep(t, map[string]int{"ibdata1": 9*mib + 12345, "empty": 0, "page": chunk, "small": 77})
	v := s.private(t)
	for name, want := range s.content {
		if got := given(os.ReadFile(v.Path() + data + name))(t); !bytes.Equal(got, want) {
			t.Errorf("%s is not what was stored", name)
		}
		info := given(os.Stat(v.Path() + data + name))(t)
		st := info.Sys().(*syscall.Stat_t)
		if info.Mode() != 0o640 || st.Uid != 103 || st.Gid != 104 || info.Size() != int64(len(want)) || !info.ModTime().Equal(repositorytest.At(1).Add(123456789)) ||
			st.Blocks != (int64(len(want))+511)/512 {
			t.Errorf("%s is %v, %+v", name, info, st)
		}
	}
	if target, err := os.Readlink(v.Path() + data + "link"); err != nil || target != "/srv/else where" {
		t.Errorf("the link leads to %q: %v", target, err)
	}
	if info := given(os.Stat(v.Path() + data))(t); info.Mode() != fs.ModeDir|0o750 || !info.ModTime().Equal(repositorytest.At(2)) {
		t.Errorf("the directory is %v", info)
	}
	for range 2 { // the second from the kernel's cache
		if names := given(os.ReadDir(v.Path() + data + "many"))(t); len(names) != 3000 {
			t.Errorf("%d of 3000 entries", len(names))
		}
	}
	if names := given(os.ReadDir(v.Path() + data + "none"))(t); len(names) != 0 {
		t.Errorf("nothing became %v", names)
	}
	if raw := given(os.ReadFile(v.Path() + "/holdstill-point.json"))(t); !bytes.Contains(raw, []byte("p1")) {
		t.Errorf("the point's entry is %s", raw)
	}
	if _, err := os.Stat(v.Path() + data + "absent"); !os.IsNotExist(err) {
		t.Errorf("what is absent: %v", err)
	}
	if err := os.WriteFile(v.Path()+data+"small", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing: %v", err)
	}
}

func TestNumbersAreTheSameInTheNextView(t *testing.T) {
	s := keep(t, map[string]int{"ibdata1": chunk})
	numbers := map[uint64]bool{}
	for range 2 {
		v := s.private(t)
		numbers[given(os.Stat(v.Path()+data+"ibdata1"))(t).Sys().(*syscall.Stat_t).Ino] = true
		must(t, v.Close())
		must(t, v.Close())
	}
	if len(numbers) != 1 {
		t.Errorf("the file is number %v", numbers)
	}
}

func TestReadersAtOnce(t *testing.T) {
	const size = 40*mib + 4321
	s := keep(t, map[string]int{"ibdata1": size})
	v := s.private(t)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			f, err := os.Open(v.Path() + data + "ibdata1")
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			r := rand.New(rand.NewPCG(1, uint64(worker)))
			buffer := make([]byte, 3*mib)
			for range 60 {
				at := r.Int64N(size)
				n, err := f.ReadAt(buffer[:1+r.IntN(len(buffer))], at)
				if err != nil && err != io.EOF || !bytes.Equal(buffer[:n], s.content["ibdata1"][at:at+int64(n)]) {
					t.Errorf("%d bytes at %d: %v", n, at, err)
				}
			}
		})
	}
	group.Wait()
}

func TestCloseWaitsForUsers(t *testing.T) {
	s := keep(t, map[string]int{"ibdata1": chunk})
	v := s.private(t)
	f := given(os.Open(v.Path() + data + "ibdata1"))(t)
	time.AfterFunc(300*time.Millisecond, func() { _ = f.Close() })
	must(t, v.Close())
	v.Wait()
}
