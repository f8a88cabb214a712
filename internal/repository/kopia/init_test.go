package kopia_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/repository/kopia"
)

func settings(t *testing.T, url string) kopia.Settings {
	t.Helper()
	return kopia.Settings{Location: kopia.Location{URL: url}, Password: password, Host: "a", Dir: t.TempDir()}
}

func made(t *testing.T, s kopia.Settings) (string, error) {
	t.Helper()
	store, err := kopia.Init(t.Context(), s)
	if err != nil {
		return "", err
	}
	return store.ID(), store.Close(t.Context())
}

// TestInterruptedInit leaves a place as an init does that is killed, moment by moment; the next one makes a repository of it, or says
// that there is one.
func TestInterruptedInit(t *testing.T) {
	for _, c := range []struct {
		name string
		left func(dir string) error // of a complete repository
		want error
	}{
		{"before anything", func(dir string) error { return emptyExcept(dir) }, nil},
		{"after the layout", func(dir string) error { return emptyExcept(dir, ".shards") }, nil},
		{"in the first blob", func(dir string) error {
			return errors.Join(emptyExcept(dir, ".shards", "kopia.blobcfg.f"), os.Rename(filepath.Join(dir, "kopia.blobcfg.f"), filepath.Join(dir, "kopia.blobcfg.f.tmp.0011")))
		}, nil},
		{"after the first blob", func(dir string) error { return emptyExcept(dir, ".shards", "kopia.blobcfg.f") }, nil},
		{"in the second blob", func(dir string) error {
			return errors.Join(emptyExcept(dir, ".shards", "kopia.blobcfg.f", "kopia.repository.f"),
				os.Rename(filepath.Join(dir, "kopia.repository.f"), filepath.Join(dir, "kopia.repository.f.tmp.0011")))
		}, nil},
		{"after the second blob", func(dir string) error {
			return emptyExcept(dir, ".shards", "kopia.blobcfg.f", "kopia.repository.f")
		}, repository.ErrExists},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			s := settings(t, dir)
			if _, err := made(t, s); err != nil {
				t.Fatal(err)
			}
			if err := c.left(dir); err != nil {
				t.Fatal(err)
			}
			s.Dir = t.TempDir()
			if _, err := made(t, s); !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			store, err := kopia.Connect(t.Context(), s) // either way
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close(t.Context())
			if m, err := store.Maintain(t.Context()); err != nil || !m.Ran {
				t.Errorf("%+v %v", m, err)
			}
		})
	}
}

// emptyExcept removes all that has not one of the names.
func emptyExcept(dir string, names ...string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		keep := false
		for _, name := range names {
			keep = keep || e.Name() == name
		}
		if !keep {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// TestInitKeepsWhatIsThere: a place that holds anything is left as it is, also a repository that has lost its first blob.
func TestInitKeepsWhatIsThere(t *testing.T) {
	lost := filepath.Join(t.TempDir(), "store")
	if _, err := made(t, settings(t, lost)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(lost, "kopia.repository.f")); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	file := filepath.Join(other, "letters")
	if err := os.WriteFile(file, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{lost, other, file} {
		before := listing(t, at)
		if _, err := made(t, settings(t, at)); !errors.Is(err, repository.ErrForeign) {
			t.Errorf("%s: %v", at, err)
		}
		if after := listing(t, at); after != before {
			t.Errorf("%s was\n%s\nand is\n%s", at, before, after)
		}
	}
}

func listing(t *testing.T, at string) string {
	t.Helper()
	var out strings.Builder
	if err := filepath.WalkDir(at, func(path string, _ fs.DirEntry, err error) error {
		out.WriteString(path + "\n")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := settings(t, dir)
	if _, err := made(t, s); err != nil {
		t.Fatal(err)
	}
	another := settings(t, filepath.Join(t.TempDir(), "store"))
	if _, err := made(t, another); err != nil {
		t.Fatal(err)
	}
	another.Dir = s.Dir
	wrong := s
	wrong.Password = "something else"
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    kopia.Settings
		want error
	}{
		"password": {wrong, repository.ErrPassword}, "another": {another, repository.ErrOther}, "a file": {settings(t, file), repository.ErrForeign},
		"not mounted": {settings(t, filepath.Join(t.TempDir(), "gone")), repository.ErrNone}, "empty": {settings(t, t.TempDir()), repository.ErrNone},
	} {
		if store, err := kopia.Open(t.Context(), c.s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
			if err == nil {
				_ = store.Close(t.Context())
			}
		}
	}
}
