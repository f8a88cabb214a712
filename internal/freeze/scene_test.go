package freeze

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/undo"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case Command:
			os.Exit(GuardMain(os.Args[2:]))
		case "freeze-and-wait":
			os.Exit(freezeAndWait(os.Args[2], os.Args[3], os.Args[4:]))
		}
	}
	os.Exit(m.Run())
}

// freezeAndWait is a parent to kill: it freezes, prints its deed and its guard's pid, and waits.
func freezeAndWait(deadline, evidence string, dirs []string) int {
	limit, err := time.ParseDuration(deadline)
	if err != nil {
		return 2
	}
	g, err := Start(context.Background(), dirs, limit, evidence)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	step := g.Step("run")
	if _, err := step.Act(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	deed, _ := json.Marshal(step.Deed)
	fmt.Printf("%d %s\n", g.PID(), deed)
	time.Sleep(time.Minute)
	return 1
}

type child struct {
	*exec.Cmd
	guard int
	deed  undo.Deed
}

func startChild(t *testing.T, deadline time.Duration, evidence string, dirs ...string) child {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{"freeze-and-wait", deadline.String(), evidence}, dirs...)...)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	c := child{Cmd: cmd}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	pid, deed, _ := strings.Cut(line, " ")
	if _, err := fmt.Sscan(pid, &c.guard); err != nil || json.Unmarshal([]byte(deed), &c.deed) != nil {
		t.Fatalf("the child says: %s", line)
	}
	return c
}

// volumes makes small file systems, each with a rescuer that thaws them whatever becomes of us.
func volumes(t *testing.T, kinds ...string) []string {
	t.Helper()
	l := labtest.New(t)
	var dirs []string
	for i, kind := range kinds {
		v, err := l.FS(t.Context(), fmt.Sprintf("%s-%d", kind, i), kind, 512<<20)
		must(t, err)
		dirs = append(dirs, v.Dir)
		rescue(t, v.Dir)
	}
	return dirs
}

func splitLines(s string) []string { return strings.Split(s, "\n") }

// rescue starts a process of its own session that thaws dir whatever becomes of us; the end of the test must not need it.
func rescue(t *testing.T, dir string) {
	t.Helper()
	rescuer := exec.Command("sh", "-c", `sleep 20; fsfreeze -u "$1"`, "rescue", dir)
	rescuer.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	rescuer.Dir = "/"
	must(t, rescuer.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-rescuer.Process.Pid, syscall.SIGKILL)
		_ = rescuer.Wait()
		if isFrozen(t, dir) {
			t.Errorf("%s was left frozen", dir)
			withDir(t, dir, ioctlThaw)
		}
	})
}

func withDir(t *testing.T, dir string, f func(int) unix.Errno) unix.Errno {
	t.Helper()
	d, err := os.Open(dir)
	must(t, err)
	defer d.Close()
	return f(int(d.Fd()))
}

// isFrozen asks by freezing: EBUSY means that it was.
func isFrozen(t *testing.T, dir string) bool {
	t.Helper()
	switch errno := withDir(t, dir, ioctlFreeze); errno {
	case 0:
		withDir(t, dir, ioctlThaw)
		return false
	case unix.EBUSY:
		return true
	default:
		t.Fatalf("cannot ask %s: %v", dir, errno)
		return false
	}
}

func awaitThaw(t *testing.T, dir string, limit time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for isFrozen(t, dir) {
		if time.Since(start) > limit {
			t.Fatalf("%s is still frozen after %v", dir, limit)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

func evidenceFile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdstill-test-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "run.freeze")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, deadline time.Duration, dirs ...string) *Guard {
	t.Helper()
	begin := time.Now()
	g, err := Start(t.Context(), dirs, deadline, evidenceFile(t))
	must(t, err)
	t.Logf("the guard was ready after %v %s", time.Since(begin).Round(time.Microsecond), g.Note())
	t.Cleanup(func() { must(t, g.Close()) })
	return g
}

func expectGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", path, err)
	}
}
