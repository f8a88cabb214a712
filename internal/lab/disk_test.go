package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// A cut that loses nothing would prove nothing: what was not synced must be gone, what was synced must be there, each time anew.
func TestCutDiskLosesWhatWasNotSynced(t *testing.T) {
	for _, fs := range []string{"btrfs", "ext4", "xfs"} {
		t.Run(fs, func(t *testing.T) {
			l := labtest.New(t)
			disk, err := l.Disk(t.Context(), "disk", fs, 512<<20)
			must(t, err)
			inner, err := l.ImageOn(t.Context(), disk.Volume, "inner", "ext4", 64<<20)
			must(t, err)
			disk.Carry(inner)
			for range 3 {
				for _, dir := range []string{disk.Dir, inner.Dir} {
					_ = os.Remove(filepath.Join(dir, "lost"))
					write(t, filepath.Join(dir, "kept"), true)
					write(t, filepath.Join(dir, "lost"), false)
				}
				must(t, shell("fsfreeze -f "+inner.Dir)) // the worst of moments
				must(t, os.WriteFile(filepath.Join(disk.Dir, "late"), []byte("x"), 0o600))
				must(t, disk.Cut())
				must(t, disk.Reopen(t.Context()))
				holds(t, disk.Volume, "late", 0)
				for _, v := range []*lab.Volume{disk.Volume, inner} {
					holds(t, v, "kept", 5<<10)
				}
				holds(t, disk.Volume, "lost", 0)
			}
		})
	}
}

func write(t *testing.T, path string, sync bool) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	_, err = f.WriteString(strings.Repeat("holds", 1<<10))
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

// holds wants the file to have that many bytes; a file that is not there has none.
func holds(t *testing.T, v *lab.Volume, name string, bytes int) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(v.Dir, name))
	if len(content) != bytes || err != nil && !os.IsNotExist(err) {
		t.Errorf("%s on %s holds %d bytes, want %d: %v", name, v.FS, len(content), bytes, err)
	}
}
