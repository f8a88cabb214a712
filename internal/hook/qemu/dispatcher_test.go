package qemu

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bench is a directory with the dispatcher and hooks that tell what they were called with.
type bench struct {
	t   *testing.T
	dir string
}

func newBench(t *testing.T) bench {
	b := bench{t, t.TempDir()}
	text := bytes.ReplaceAll(dispatcher, []byte("/var/log"), []byte(b.dir))
	if err := errors.Join(os.Mkdir(filepath.Join(b.dir, hookDir), 0o755), os.WriteFile(filepath.Join(b.dir, option), text, 0o755)); err != nil {
		t.Fatal(err)
	}
	return b
}

// hook fails for the verb that is named in failing.
func (b bench) hook(name, failing string, mode os.FileMode) {
	text := "#!/bin/sh\necho \"$1 ${0##*/}\" >>" + b.dir + "/calls\n[ \"$1\" != '" + failing + "' ] || exit 3\n"
	if err := os.WriteFile(filepath.Join(b.dir, hookDir, name), []byte(text), mode); err != nil {
		b.t.Fatal(err)
	}
}

// run returns the exit code and the calls.
func (b bench) run(args ...string) (int, string) {
	b.t.Helper()
	_ = os.Remove(filepath.Join(b.dir, "calls"))
	err := exec.Command(filepath.Join(b.dir, option), args...).Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	calls, _ := os.ReadFile(filepath.Join(b.dir, "calls"))
	code := 0
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, strings.Join(strings.Split(strings.TrimSpace(string(calls)), "\n"), ", ")
}

func TestDispatcherRunsInOrderAndInReverse(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"10 with a space", "50-holdstill", "70-*"} {
		b.hook(name, "", 0o755)
	}
	for _, name := range []string{"20.bak", "20~", "20.orig", "20.rpmnew", "20.rpmorig", "20.rpmsave", "20.sample", "20.dpkg-old", "20.dpkg-new", ".60.tmp"} {
		b.hook(name, "freeze", 0o755)
	}
	b.hook("30-off", "freeze", 0o644)
	if err := os.Mkdir(filepath.Join(b.dir, hookDir, "40-dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code, calls := b.run("freeze"); code != 0 || calls != "freeze 10 with a space, freeze 50-holdstill, freeze 70-*" {
		t.Error(code, calls)
	}
	if code, calls := b.run("thaw"); code != 0 || calls != "thaw 70-*, thaw 50-holdstill, thaw 10 with a space" {
		t.Error(code, calls)
	}
}

func TestDispatcherTakesAFailedFreezeBack(t *testing.T) {
	b := newBench(t)
	b.hook("10-a", "", 0o755)
	b.hook("20-b", "thaw", 0o755) // that it cannot thaw stops nobody
	b.hook("30-c", "freeze", 0o755)
	b.hook("40-d", "", 0o755)
	if code, calls := b.run("freeze"); code != 1 || calls != "freeze 10-a, freeze 20-b, freeze 30-c, thaw 30-c, thaw 20-b, thaw 10-a" {
		t.Error(code, calls)
	}
	log, err := os.ReadFile(filepath.Join(b.dir, "qga-fsfreeze-hook.log"))
	if err != nil || !strings.Contains(string(log), "freeze failed, and was taken back: "+b.dir+"/fsfreeze-hook.d/30-c (3)") || !strings.Contains(string(log), "thaw failed: "+b.dir+"/fsfreeze-hook.d/20-b (3)") {
		t.Errorf("%s %v", log, err)
	}
}

func TestDispatcherToldWrong(t *testing.T) {
	b := newBench(t)
	if code, calls := b.run("freeze"); code != 0 || calls != "" {
		t.Error("no hooks:", code, calls)
	}
	b.hook("10-a", "thaw", 0o755)
	b.hook("20-b", "", 0o755)
	if code, calls := b.run("thaw"); code != 1 || calls != "thaw 20-b, thaw 10-a" {
		t.Error("a thaw that fails:", code, calls)
	}
	for _, args := range [][]string{nil, {"melt"}, {""}} {
		if code, calls := b.run(args...); code != 2 || calls != "" {
			t.Error(args, code, calls)
		}
	}
}

// The agent gives its hook nothing to write to, and /var/log may be read-only: neither may keep a freeze from being told truly.
func TestDispatcherWithoutALog(t *testing.T) {
	b := newBench(t)
	b.hook("10-a", "freeze", 0o755)
	if err := os.Mkdir(filepath.Join(b.dir, "qga-fsfreeze-hook.log"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code, calls := b.run("freeze"); code != 1 || calls != "freeze 10-a, thaw 10-a" {
		t.Error(code, calls)
	}
}
