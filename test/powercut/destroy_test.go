package powercut

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/snapshot/btrfs"
	"github.com/holdstill/holdstill/internal/snapshot/image"
)

// TestDestroyedStaysDestroyed lets a process die after it deleted a snapshot and before it made sure of that. The next one finds nothing
// to delete, says so, and closes the deed: the power cut after that must not bring the snapshot back.
func TestDestroyedStaysDestroyed(t *testing.T) {
	t.Run("btrfs", func(t *testing.T) {
		disk := must(labtest.New(t).Disk(t.Context(), "disk", "btrfs", 512<<20))(t)
		data := filepath.Join(disk.Dir, "data")
		must(exec.Command("btrfs", "subvolume", "create", data).CombinedOutput())(t)
		destroyTwice(t, disk, btrfs.New(), data, func(path string) error {
			return exec.Command("btrfs", "subvolume", "delete", path).Run()
		})
	})
	t.Run("image", func(t *testing.T) {
		l := labtest.New(t)
		disk := must(l.Disk(t.Context(), "disk", "xfs", 512<<20))(t)
		inner := must(l.ImageOn(t.Context(), disk.Volume, "inner", "ext4", 64<<20))(t)
		disk.Carry(inner)
		destroyTwice(t, disk, image.New(), inner.Dir, os.Remove)
	})
}

func destroyTwice(t *testing.T, disk *lab.Disk, provider snapshot.Provider, data string, half func(path string) error) {
	t.Helper()
	unit := must(provider.Covers(t.Context(), must(mount.Locate(data))(t)))(t)
	cut := must(provider.Prepare(t.Context(), "run", []snapshot.Unit{unit}))(t)
	refs := must(cut.Step().Act(t.Context()))(t)
	check(t, errors.Join(cut.Settle(t.Context()), cut.Close()))
	shelf := filepath.Join(disk.Dir, ".holdstill")
	check(t, disk.Cut())
	check(t, disk.Reopen(t.Context()))
	if found := names(t, shelf); len(found) != 1 {
		t.Fatalf("a snapshot that is settled did not survive: %v", found)
	}
	check(t, half(filepath.Join(shelf, refs[0].Name)))
	check(t, provider.Destroy(t.Context(), refs[0]))
	check(t, disk.Cut())
	check(t, disk.Reopen(t.Context()))
	if found := names(t, shelf); len(found) > 0 {
		t.Errorf("a snapshot came back: %v", found)
	}
}
