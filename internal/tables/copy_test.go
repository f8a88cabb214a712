package tables

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoLinkLeadsOut plants what a hijacked server would: links to a file and to a directory that only root can write to, and a pipe.
func TestNoLinkLeadsOut(t *testing.T) {
	at := t.TempDir()
	path := func(parts ...string) string { return filepath.Join(append([]string{at}, parts...)...) }
	fine := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"scratch/export", "live/staging", "etc"} {
		fine(os.MkdirAll(path(dir), 0o700))
	}
	fine(os.WriteFile(path("scratch/export/t1.ibd"), []byte("rows"), 0o600))
	fine(os.WriteFile(path("etc/shadow"), []byte("secret"), 0o600))
	fine(os.Symlink(path("etc/shadow"), path("live/staging/t1.ibd")))
	fine(os.Symlink(path("etc/shadow"), path("scratch/export/t2.ibd")))
	fine(unix.Mkfifo(path("scratch/export/t3.ibd"), 0o600))
	fine(os.Symlink(path("etc"), path("live/elsewhere")))

	source, err := inside(path("scratch"), "export")
	fine(err)
	defer source.Close()
	staging, err := inside(path("live"), "staging")
	fine(err)
	defer staging.Close()
	_, err = copyFile(t.Context(), source, "t1.ibd", staging, "t1.ibd")
	fine(err)
	if got, err := os.ReadFile(path("live/staging/t1.ibd")); err != nil || string(got) != "rows" {
		t.Errorf("the copy is %q: %v", got, err)
	}
	for _, name := range []string{"t2.ibd", "t3.ibd"} {
		if _, err := copyFile(t.Context(), source, name, staging, name); err == nil {
			t.Errorf("%s was copied", name)
		}
	}
	if got, err := os.ReadFile(path("etc/shadow")); err != nil || string(got) != "secret" {
		t.Errorf("the file outside is %q: %v", got, err)
	}
	if _, err := inside(path("live"), "elsewhere"); err == nil {
		t.Error("a directory outside was taken for the staging")
	}
}
