package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func build(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the demo needs root: it mounts file systems and starts servers")
	}
	binary := filepath.Join(t.TempDir(), "holdstill")
	cmd := exec.Command("go", "build", "-o", binary, "../../cmd/holdstill")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// place is a short path: a server's socket lies below it.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "holdstill-demo-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Clean(dir); err != nil {
			t.Error(err)
		}
		_ = os.Remove(dir)
	})
	return dir
}

func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	if !empty(dir) {
		t.Errorf("%s is not gone", dir)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), dir+"/") {
		t.Errorf("something is mounted below %s: %v", dir, err)
	}
	if _, err := os.Stat("/run/netns/" + nodeA); err == nil {
		t.Error("node-a's namespace is left")
	}
}

// TestDemo plays it kept, visits it, plays it again over the kept one, and finds nothing afterwards.
func TestDemo(t *testing.T) {
	dir, binary := place(t), build(t)
	var out bytes.Buffer
	if err := Run(t.Context(), Options{Dir: dir, Keep: true, Out: &out, Binary: binary}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if want := "demo clean --dir " + dir; !strings.Contains(out.String(), want) {
		t.Errorf("it does not say how to clean up:\n%s", &out)
	}
	visits(t, dir, binary)

	out.Reset()
	began := time.Now()
	if err := Run(t.Context(), Options{Dir: dir, Out: &out, Binary: binary}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if took := time.Since(began); took > 3*time.Minute {
		t.Errorf("it took %s", took)
	}
	nothingLeft(t, dir)
}

// visits writes and watches by hand; as long as that lasts, nobody may clean the demo away by starting another.
func visits(t *testing.T, dir, binary string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var wrote, watched bytes.Buffer
	ended := make(chan error)
	go func() { ended <- Write(ctx, Options{Dir: dir, Out: &wrote}) }()
	time.Sleep(500 * time.Millisecond)
	err := Run(t.Context(), Options{Dir: dir, Out: &bytes.Buffer{}, Binary: binary})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("a second demo while somebody writes: %v", err)
	}
	if err := Watch(ctx, Options{Dir: dir, Out: &watched}); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(watched.String(), "node-c") || strings.Contains(watched.String(), "no answer") {
		t.Errorf("the watcher does not see all nodes:\n%s", &watched)
	}
	if !strings.Contains(wrote.String(), "rows in") {
		t.Errorf("the writer says nothing:\n%s", &wrote)
	}
}

func TestInterruptedDemoCleansUp(t *testing.T) {
	dir, binary := place(t), build(t)
	ctx, cancel := context.WithCancel(t.Context())
	var out cancelAt
	out.cancel, out.at = cancel, "holdstill backup node-b"
	err := Run(ctx, Options{Dir: dir, Keep: true, Out: &out, Binary: binary})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v\n%s", err, &out.text)
	}
	nothingLeft(t, dir)
}

// cancelAt cancels as soon as it is told something.
type cancelAt struct {
	text   bytes.Buffer
	at     string
	cancel func()
}

func (c *cancelAt) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.at) {
		time.AfterFunc(700*time.Millisecond, c.cancel)
	}
	return c.text.Write(p)
}

func TestFailingCommandFailsTheDemo(t *testing.T) {
	dir := place(t)
	var out bytes.Buffer
	err := Run(t.Context(), Options{Dir: dir, Out: &out, Binary: "/bin/false"})
	if err == nil || !strings.Contains(err.Error(), "holdstill backup node-b --mode cold: exit status 1") {
		t.Errorf("%v\n%s", err, &out)
	}
	nothingLeft(t, dir)
}

func TestDirectoryOfSomebodyElse(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{Run(t.Context(), Options{Dir: dir, Out: &bytes.Buffer{}}), Clean(dir)} {
		if err == nil || !strings.Contains(err.Error(), "holds no demo") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	for _, err := range []error{Write(t.Context(), Options{Dir: dir}), Watch(t.Context(), Options{Dir: dir})} {
		if err == nil || !strings.Contains(err.Error(), "holdstill demo --keep") {
			t.Errorf("got %v", err)
		}
	}
}
