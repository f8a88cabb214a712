package mount

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/lab/labtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mountAt(t *testing.T, source, dir, fstype string, flags uintptr) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o700))
	must(t, unix.Mount(source, dir, fstype, flags, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
}

func TestLocate(t *testing.T) {
	base := t.TempDir()
	odd := filepath.Join(base, "tab\there \\040 and\nnewline é")
	mountAt(t, "tmpfs", odd, "tmpfs", 0)
	must(t, os.MkdirAll(filepath.Join(odd, "a/b"), 0o700))
	link := filepath.Join(base, "link")
	must(t, os.Symlink(filepath.Join(odd, "a"), link))

	p, err := Locate(link + "/b")
	must(t, err)
	if p.Path != link+"/b" || p.Real != filepath.Join(odd, "a/b") || p.MountPoint != odd || p.FSType != "tmpfs" || p.Root != "/" {
		t.Errorf("located %+v", p)
	}
	if _, err := Locate(filepath.Join(base, "absent")); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("locating what is absent: %v", err)
	}
	// A sibling whose name begins like a mount point does not lie on it.
	must(t, os.Mkdir(odd+"-not", 0o700))
	if p, err := Locate(odd + "-not"); err != nil || p.MountPoint == odd {
		t.Errorf("located %+v: %v", p, err)
	}
}

func TestLocateUnderOvermounts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "top")
	mountAt(t, "first", dir, "tmpfs", 0)
	mountAt(t, "deep", filepath.Join(dir, "deep"), "tmpfs", 0)
	must(t, os.Mkdir(filepath.Join(dir, "bound"), 0o700))
	mountAt(t, "second", dir, "tmpfs", unix.MS_RDONLY) // covers the first, and "deep" with it
	p, err := Locate(dir)
	if err != nil || p.Device != "second" || !p.ReadOnly {
		t.Errorf("located %+v: %v", p, err)
	}
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
	must(t, os.Mkdir(filepath.Join(dir, "deep"), 0o700))
	if p, err = Locate(filepath.Join(dir, "deep")); err != nil || p.Device != "second" || p.MountPoint != dir {
		t.Errorf("a covered mount counts: %+v: %v", p, err)
	}
	// As a kernel without mount ids in statx would be asked: of equal mount points the last.
	table, err := mountinfo.GetMounts(nil)
	must(t, err)
	if m := longestPrefix(table, dir); m == nil || m.Source != "second" {
		t.Errorf("the longest prefix is %+v", m)
	}
}

func TestViews(t *testing.T) {
	views := Views{{"/srv", "/@data"}, {"/srv/logs", "/@logs/x"}, {"/", "/root"}}
	for real, want := range map[string]string{
		"/srv": "/@data", "/srv/a/../b": "/@data/b", "/srv/logs/f": "/@logs/x/f", "/srvx": "/root/srvx", "/": "/root",
	} {
		if got, err := views.Inside(real); err != nil || got != want {
			t.Errorf("%s is %s inside (%v), want %s", real, got, err, want)
		}
	}
	back, err := ParseViews(views.String())
	if err != nil || !slices.Equal(back, views) {
		t.Errorf("%+v came back as %+v: %v", views, back, err)
	}
	if _, err := (Views{{"/srv", "/"}}).Inside("/home"); err == nil {
		t.Error("/home is inside of /srv")
	}
}

func TestPrivateAndLoop(t *testing.T) {
	l := labtest.New(t)
	v, err := l.FS(t.Context(), "vol", "ext4", 64<<20)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(v.Dir, "file"), []byte("x"), 0o600))
	must(t, SyncFS(v.Dir))
	if free, err := Free(v.Dir); err != nil || free == 0 || free > 64<<20 {
		t.Errorf("%d bytes are free: %v", free, err)
	}
	p, err := Locate(v.Dir)
	if err != nil || p.Device != v.Device || p.FSType != "ext4" {
		t.Errorf("located %+v, want the device %s: %v", p, v.Device, err)
	}
	if !slices.Contains(PointsOf(p.Major, p.Minor), v.Dir) {
		t.Error("the device does not know its mount point")
	}
	copied := filepath.Join(l.Dir(), "copy")
	content, err := os.ReadFile(v.Image)
	must(t, err)
	must(t, os.WriteFile(copied, content, 0o400))

	loop, err := AttachLoop(copied, true)
	must(t, err)
	tree, err := Private(t.Context(), loop.Path, "ext4", "ro", "noload")
	must(t, err)
	must(t, loop.Close()) // the mount keeps it
	if got, err := os.ReadFile(filepath.Join(tree.Path(), "file")); err != nil || string(got) != "x" {
		t.Errorf("the file holds %q: %v", got, err)
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(table), loop.Path+" ") {
		t.Error("a private mount shows in the mount table")
	}
	must(t, tree.Close())
	must(t, tree.Close())
	awaitDetached(t, loop.Path, copied)
	must(t, os.Remove(copied))
}

func awaitDetached(t *testing.T, device, file string) {
	t.Helper()
	for range 100 {
		backing, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/loop/backing_file")
		if err != nil || strings.TrimSpace(string(backing)) != file {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%s is still attached to %s", device, file)
}

func TestErrorsTell(t *testing.T) {
	_, err := Private(t.Context(), "/dev/null", "ext4", "ro")
	if err == nil || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("mounting /dev/null: %v", err)
	}
	t.Log(err)
	_, err = Private(t.Context(), "none", "tmpfs", "nonsense=1")
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a wrong option: %v", err)
	}
	t.Log(err)
	if _, err = AttachLoop("/no/such/file", true); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("attaching nothing: %v", err)
	}
}

// Many take loop devices at the same time: GET_FREE gives two of them the same one.
func TestAttachLoopRace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(file, make([]byte, 1<<20), 0o600))
	results := make(chan error, 16)
	for range cap(results) {
		go func() {
			loop, err := AttachLoop(file, true)
			if err == nil {
				time.Sleep(20 * time.Millisecond)
				err = loop.Close()
			}
			results <- err
		}()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
