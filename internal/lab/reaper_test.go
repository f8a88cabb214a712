package lab_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// TestMain lets the test binary be the maker of a lab that the test then kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LAB_TEST_MAKER"); dir != "" {
		if err := makeEverything(dir, os.Getenv("LAB_TEST_BUILD")); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		fmt.Println("made")
		select {}
	}
	os.Exit(m.Run())
}

// world is everything that exists and names the lab, but for network namespaces.
func world(t *testing.T, dir string) string {
	t.Helper()
	var found []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			found = append(found, "mount "+strings.TrimSpace(line))
		}
	}
	for _, pattern := range []string{"/sys/block/loop*/loop/backing_file", "/proc/[0-9]*/cmdline"} {
		paths, err := filepath.Glob(pattern)
		must(t, err)
		for _, path := range paths {
			// the maker's own command line names no lab
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), dir) {
				found = append(found, path+" "+strings.ReplaceAll(strings.TrimSpace(string(text)), "\x00", " "))
			}
		}
	}
	if _, err := os.Lstat(dir); err == nil {
		found = append(found, "directory "+dir)
	}
	return strings.Join(found, "\n")
}

func startMaker(t *testing.T, dir, build string) *exec.Cmd {
	t.Helper()
	maker := exec.Command(os.Args[0])
	maker.Env = append(os.Environ(), "LAB_TEST_MAKER="+dir, "LAB_TEST_BUILD="+build)
	maker.Stderr = os.Stderr
	out, err := maker.StdoutPipe()
	must(t, err)
	must(t, maker.Start())
	t.Cleanup(func() { _ = maker.Process.Kill() })
	text := bufio.NewScanner(out)
	for text.Scan() {
		if text.Text() == "made" {
			return maker
		}
		t.Error(text.Text())
	}
	t.Fatal("the maker made nothing")
	return nil
}

// The maker dies by SIGKILL with four file systems frozen, one of them unmounted since, a server that writes, a process that hangs
// in a write to the frozen file system, a disk with a daemon behind it, a mount that the lab knows nothing of, and a network: nothing of
// it may be left.
func TestNothingIsLeftOfAKilledMaker(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, b lab.Build) {
		dir := freshDir(t)
		maker := startMaker(t, dir, b.Name)
		made, names := world(t, dir), namespaces(t, dir)
		for _, want := range []string{"/disk ", "/outer ", "/inner ", `/behind\040the\040lab `, "outer/inner.img", "--defaults-file=" + dir, "/powered ", "filename=" + dir} {
			if !strings.Contains(made, want) {
				t.Errorf("the maker made no %q:\n%s", want, made)
			}
		}
		began := time.Now()
		must(t, maker.Process.Kill())
		_ = maker.Wait()
		for world(t, dir) != "" && time.Since(began) < time.Minute {
			time.Sleep(20 * time.Millisecond)
		}
		if left := world(t, dir); left != "" {
			t.Fatalf("left after a minute:\n%s", left)
		}
		checkGone(t, names)
		t.Logf("all gone %v after the kill", time.Since(began).Round(time.Millisecond))
	})
}

func freshDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "holdstill-test-")
	must(t, err)
	// should the test itself fail to clean: the same code, once more, and louder
	t.Cleanup(func() {
		if err := lab.Reap(dir); err != nil && !strings.Contains(err.Error(), "not a lab") {
			t.Error(err)
		}
	})
	return dir
}

func TestKeepThenReap(t *testing.T) {
	b, err := lab.Find("mariadb-10.11")
	must(t, err)
	dir := freshDir(t)
	l, err := lab.New(dir)
	must(t, err)
	if err := lab.Reap(dir); !errors.Is(err, lab.ErrInUse) {
		t.Errorf("reaping a lab in use: %v", err)
	}
	volume, err := l.FS(t.Context(), "disk", "ext4", 256<<20)
	must(t, err)
	s := start(t, l, b, lab.Spec{Name: "db", Datadir: filepath.Join(volume.Dir, "data")})
	_, err = l.Network(t.Context(), "sw", map[string]string{"a": "10.77.1.1"})
	must(t, err)
	must(t, l.Keep())
	must(t, l.Close()) // too late, and harmless
	if v, err := s.Value(t.Context(), "SELECT 1"); err != nil || v != "1" {
		t.Errorf("the kept server: %q, %v", v, err)
	}
	must(t, lab.Reap(dir))
	if left := world(t, dir); left != "" {
		t.Errorf("left:\n%s", left)
	}
	must(t, lab.Reap(dir)) // absent is clean
}

// The reaper dies with its maker: the list on disk is enough.
func TestReapAfterTheReaperWasKilledToo(t *testing.T) {
	dir := freshDir(t)
	maker := startMaker(t, dir, "mariadb-10.11")
	names := namespaces(t, dir)
	reaper := child(t, maker.Process.Pid, dir)
	must(t, syscall.Kill(reaper, syscall.SIGKILL))
	must(t, maker.Process.Kill())
	_ = maker.Wait()
	time.Sleep(100 * time.Millisecond)
	if world(t, dir) == "" {
		t.Fatal("the killed reaper cleaned")
	}
	must(t, lab.Reap(dir))
	if left := world(t, dir); left != "" {
		t.Errorf("left:\n%s", left)
	}
	checkGone(t, names)
}

func child(t *testing.T, parent int, dir string) (pid int) {
	t.Helper()
	out, err := exec.Command("pgrep", "-P", fmt.Sprint(parent), "-f", "reaper.sh "+dir+"$").Output()
	must(t, err)
	_, err = fmt.Sscan(string(out), &pid)
	must(t, err)
	return pid
}

// Somebody sits in the lab: he is not killed, and Close says what is left.
func TestCloseSaysWhatIsLeft(t *testing.T) {
	dir := freshDir(t)
	l, err := lab.New(dir)
	must(t, err)
	volume, err := l.FS(t.Context(), "disk", "ext4", 64<<20)
	must(t, err)
	guest := exec.Command("sleep", "1000")
	guest.Dir = volume.Dir
	must(t, guest.Start())
	err = l.Close()
	if err == nil || !strings.Contains(err.Error(), "images/disk.img") {
		t.Errorf("got %v", err)
	}
	must(t, guest.Process.Kill())
	_ = guest.Wait()
	must(t, lab.Reap(dir))
	if left := world(t, dir); left != "" {
		t.Errorf("left:\n%s", left)
	}
}

func TestCloseKillsTheAdopted(t *testing.T) {
	l := labtest.New(t)
	guest := exec.Command("sleep", "1000")
	must(t, guest.Start())
	must(t, l.Adopt(guest.Process.Pid))
	ended := make(chan error, 1)
	go func() { ended <- guest.Wait() }()
	must(t, l.Close())
	if err := <-ended; err == nil {
		t.Error("the adopted process ended by itself")
	}
}

// TestNewRefuses stays below a directory of its own: a lab that is made by mistake removes what it was made in.
func TestNewRefuses(t *testing.T) {
	own, err := os.MkdirTemp("/var/tmp", "holdstill-test-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(own) })
	in := func(name string) string { return filepath.Join(own, name) }
	must(t, os.Mkdir(in("shared"), 0o755))
	must(t, os.Chmod(in("shared"), 0o777|os.ModeSticky)) // as /var/tmp, and empty
	must(t, os.MkdirAll(in("full/thing"), 0o755))

	for _, dir := range []string{"/", "/lab-at-the-top", in("shared"), in("full"), in("a b/c")} {
		l, err := lab.New(dir)
		if err == nil {
			t.Errorf("New(%q) made a lab", dir)
			_ = l.Close()
		}
	}
	for _, dir := range []string{"/lab-at-the-top", in("a b")} {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("New left %q", dir)
		}
	}
	if info, err := os.Stat(in("shared")); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("the shared directory is not as it was: %v, %v", info, err)
	}
}
