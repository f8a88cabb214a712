package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// makeEverything runs in the maker: all kinds of things, in the worst state for whoever must take them back.
func makeEverything(dir, name string) error {
	ctx := context.Background()
	l, err := lab.New(dir)
	if err != nil {
		return err
	}
	b, err := lab.Find(name)
	if err != nil {
		return err
	}
	disk, err := l.Btrfs(ctx, "disk", 2<<30)
	if err != nil {
		return err
	}
	inner, err := frozenImage(ctx, l)
	if err != nil {
		return err
	}
	powered, err := l.Disk(ctx, "powered", "xfs", 320<<20)
	if err != nil {
		return err
	}
	network, err := l.Network(ctx, "sw", map[string]string{"a": "10.77.0.1", "b": "10.77.0.2"})
	if err != nil {
		return err
	}
	s, err := l.Server(ctx, b, lab.Spec{Name: "db", Datadir: filepath.Join(disk.Dir, "data"), Subvolume: true, Netns: network.Netns("a"), Bind: network.Address("a")})
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	if _, err := s.Write(ctx, lab.WriterOptions{}); err != nil {
		return err
	}
	behind := filepath.Join(dir, "behind the lab")
	if err := os.Mkdir(behind, 0o755); err != nil {
		return err
	}
	return shell(fmt.Sprintf("mount --bind %s '%s' && fsfreeze -f %s && fsfreeze -f %s", inner.Dir, behind, disk.Dir, powered.Dir))
}

// frozenImage makes an image on a volume and freezes it, and a second one that is unmounted while it is frozen: that one has no path
// any more, yet it lives and holds its loop.
func frozenImage(ctx context.Context, l *lab.Lab) (*lab.Volume, error) {
	outer, err := l.FS(ctx, "outer", "xfs", 2<<30)
	if err != nil {
		return nil, err
	}
	inner, err := l.ImageOn(ctx, outer, "inner", "xfs", 320<<20)
	if err != nil {
		return nil, err
	}
	hidden, err := l.ImageOn(ctx, outer, "hidden", "ext4", 64<<20)
	if err != nil {
		return nil, err
	}
	// the touch hangs in state D, where kill -9 does nothing before the thaw
	return inner, shell(fmt.Sprintf("fsfreeze -f %[1]s && fsfreeze -f %[2]s && umount %[2]s && (touch %[1]s/hangs >/dev/null 2>&1 &)", inner.Dir, hidden.Dir))
}

func shell(command string) error {
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}

// namespaces are the paths of the lab's, and the test fails unless all of them exist.
func namespaces(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadFile(filepath.Join(dir, "reaper.list"))
	must(t, err)
	var paths []string
	for line := range strings.Lines(string(list)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "netns ")
		if !ok {
			continue
		}
		paths = append(paths, "/run/netns/"+name)
		if _, err := os.Lstat("/run/netns/" + name); err != nil {
			t.Error(err)
		}
	}
	if len(paths) == 0 {
		t.Error("the lab has no namespaces")
	}
	return paths
}

func checkGone(t *testing.T, paths []string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
}

func TestNetwork(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		n, err := l.Network(t.Context(), "sw", map[string]string{"a": "10.77.0.1", "b": "10.77.0.2/24"})
		must(t, err)
		source := start(t, l, b, lab.Spec{Name: "source", Netns: n.Netns("a"), Bind: n.Address("a")})
		replica := start(t, l, b, lab.Spec{Name: "replica", Netns: n.Netns("b"), Bind: n.Address("b")})
		must(t, lab.Replicate(t.Context(), source, replica, lab.ReplicateOptions{GTID: true}))
		w, err := source.Write(t.Context(), lab.WriterOptions{Workers: 1})
		must(t, err)
		count := func() string {
			v, _ := replica.Value(t.Context(), "SELECT COUNT(*) FROM sampledb.sampletable")
			return v
		}
		waitFor(t, "the first row", func() bool { v := count(); return v != "" && v != "0" })
		must(t, n.Down(t.Context(), "b"))
		time.Sleep(200 * time.Millisecond)
		cut := count()
		time.Sleep(500 * time.Millisecond)
		if now := count(); now != cut {
			t.Errorf("rows crossed the cut link: %s, then %s", cut, now)
		}
		must(t, n.Up(t.Context(), "b"))
		acked := fmt.Sprint(len(w.Stop().Acked))
		waitFor(t, "all "+acked+" rows", func() bool { return count() == acked })
		words := n.Command("b", "ip", "-br", "addr", "show", "eth0")
		out, err := exec.Command(words[0], words[1:]...).Output()
		if err != nil || !strings.Contains(string(out), "10.77.0.2/24") {
			t.Errorf("eth0 of b: %s, %v", out, err)
		}
	})
}
