package external

import (
	"testing"

	"github.com/holdstill/holdstill/internal/mount"
)

// TestRootIsNotFrozen by whatever name: a subvolume and a bind mount are the same file system.
func TestRootIsNotFrozen(t *testing.T) {
	root, err := mount.Locate("/")
	if err != nil {
		t.Fatal(err)
	}
	bound, other := root, root
	bound.MountPoint, other.MountPoint = "/srv", "/srv"
	other.Minor += 1000
	for _, c := range []struct {
		place mount.Place
		want  string
	}{{root, ""}, {bound, ""}, {other, "holdstill"}} {
		if got := New("aws", "a host", true, nil).freezer(c.place); got != c.want {
			t.Errorf("%s (%d:%d) is frozen by %q", c.place.MountPoint, c.place.Major, c.place.Minor, got)
		}
		if got := New("azure", "another", false, nil).freezer(c.place); got != "another" {
			t.Errorf("%s is frozen by %q", c.place.MountPoint, got)
		}
	}
}
