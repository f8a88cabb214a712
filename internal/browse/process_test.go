package browse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/repository/kopia"
)

// The test's own binary plays two parts in processes of their own: it serves a view until it is killed, and it maps a file into memory,
// which the process that serves it must not do.
func TestMain(m *testing.M) {
	var err error
	switch part := os.Getenv("BROWSE_TEST"); part {
	case "":
		os.Exit(m.Run())
	case "map":
		err = printMapped(os.Args[1])
	case "serve":
		err = serveFor(os.Args[1], os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func part(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "BROWSE_TEST="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// printMapped prints what a mapping of the file holds.
func printMapped(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(data)
	return err
}

// serveFor attaches the point p1 of a store and serves until it is unmounted.
func serveFor(store, state, dir string) error {
	ctx := context.Background()
	s, err := kopia.Open(ctx, kopia.Settings{Location: kopia.Location{URL: store}, Password: "secret secret", Host: "a", Dir: state})
	if err != nil {
		return err
	}
	points, err := s.Points(ctx)
	if err != nil {
		return err
	}
	tree, err := s.Open(ctx, points[0])
	if err != nil {
		return err
	}
	v, err := Attach(ctx, tree, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	v.Wait()
	return nil
}

// served attaches the point at a directory from a process of its own.
func (s *stored) served(t *testing.T) (string, *exec.Cmd) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "at")
	must(t, os.Mkdir(dir, 0o755))
	cmd := part("serve", s.dir, filepath.Join(filepath.Dir(s.dir), "state"), dir)
	out := given(cmd.StdoutPipe())(t)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	})
	word := make([]byte, 6)
	if _, err := out.Read(word); err != nil || string(word) != "ready\n" {
		t.Fatalf("the process that serves said %q: %v", word, err)
	}
	return dir, cmd
}

func TestMappedIntoMemory(t *testing.T) {
	s := keep(t, map[string]int{"ibdata1": 5*mib + 123})
	v := s.private(t)
	cmd := part("map", v.Path()+data+"ibdata1")
	if out := given(cmd.Output())(t); !bytes.Equal(out, s.content["ibdata1"]) {
		t.Errorf("%d bytes are not what was stored", len(out))
	}
}

func TestUmount(t *testing.T) {
	s := keep(t, map[string]int{"ibdata1": chunk})
	dir, cmd := s.served(t)
	m := given(At(dir))(t)
	if m == nil || !m.Stored || m.Dead() {
		t.Fatalf("there is %+v", m)
	}
	if _, err := Prepare(dir); !errors.Is(err, ErrRefused) {
		t.Errorf("mounting over it: %v", err)
	}
	f := given(os.Open(dir + data + "ibdata1"))(t)
	err := Umount(m, nil)
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("while it is in use: %v", err)
	}
	must(t, f.Close())
	must(t, Umount(m, nil))
	must(t, cmd.Wait())
	if m := given(At(dir))(t); m != nil {
		t.Errorf("still there: %+v", m)
	}
}

func TestUmountAfterKill(t *testing.T) {
	s := keep(t, map[string]int{"ibdata1": chunk})
	dir, cmd := s.served(t)
	f := given(os.Open(dir + data + "ibdata1"))(t)
	defer f.Close()
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	m := given(At(dir))(t)
	if m == nil || !m.Dead() {
		t.Fatalf("a mount whose server was killed: %+v", m)
	}
	must(t, Umount(m, nil))
	if m := given(At(dir))(t); m != nil {
		t.Errorf("still there: %+v", m)
	}
}

// A private view goes with its process, and leaves nobody hanging.
func TestPrivateDiesWithItsProcess(t *testing.T) {
	s := keep(t, map[string]int{"ibdata1": mib})
	dir, cmd := s.served(t)
	done := make(chan error, 1)
	must(t, syscall.Kill(cmd.Process.Pid, syscall.SIGSTOP)) // a server that does not answer
	go func() { _, err := os.ReadFile(dir + data + "ibdata1"); done <- err }()
	time.Sleep(100 * time.Millisecond)
	must(t, cmd.Process.Kill())
	select {
	case err := <-done:
		if err == nil {
			t.Error("a read of a dead view succeeded")
		}
	case <-time.After(10 * time.Second):
		t.Error("a reader hangs")
	}
}

func TestDamageIsAnErrorOfTheFile(t *testing.T) {
	s := keep(t, map[string]int{"ibdata1": 8 * mib, "small": 77})
	var log bytes.Buffer
	v := given(Private(t.Context(), s.tree, slog.New(slog.NewTextHandler(&log, nil))))(t)
	given(os.ReadDir(v.Path() + data))(t)
	s.damage(t)
	for range 3 {
		_, err := os.ReadFile(v.Path() + data + "ibdata1")
		if !errors.Is(err, unix.EIO) {
			t.Errorf("reading what is damaged: %v", err)
		}
	}
	must(t, v.Close())
	if text := log.String(); strings.Count(text, "file="+data+"ibdata1") != 1 || strings.Count(text, "level=ERROR") != 1 {
		t.Errorf("logged:\n%s", text)
	}
}

// damage turns bits in all packs of data.
func (s *stored) damage(t *testing.T) {
	t.Helper()
	packs := 0
	must(t, filepath.WalkDir(s.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(strings.TrimPrefix(name, s.dir), "/p") {
			return err
		}
		packs++
		raw, err := os.ReadFile(name)
		for i := range raw {
			if i%4096 > 4000 {
				raw[i] ^= 0x5a
			}
		}
		return errors.Join(err, os.Chmod(name, 0o600), os.WriteFile(name, raw, 0o600))
	}))
	if packs == 0 {
		t.Fatal("the store has no packs")
	}
}
