package service

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sleeper is a process that stands for a server.
func sleeper(t *testing.T) (Process, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return ProcessOf(cmd.Process.Pid), cmd
}

func TestProcess(t *testing.T) {
	p, cmd := sleeper(t)
	if !p.Lives() {
		t.Fatal("a living process counts as dead")
	}
	if (Process{PID: p.PID, Since: "1"}).Lives() {
		t.Error("another process with the number counts as it")
	}
	_ = cmd.Process.Kill()
	for deadline := time.Now().Add(5 * time.Second); p.Lives() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if p.Lives() { // not waited for yet: a zombie
		t.Error("a zombie counts as living")
	}
	if (Process{}).Lives() {
		t.Error("no process lives")
	}
}

func TestDownWaitsForTheStopEvenIfCancelled(t *testing.T) {
	p, cmd := sleeper(t)
	done := filepath.Join(t.TempDir(), "done")
	s := Service{Kind: Commands, Stop: "sleep 0.5; kill " + strconv.Itoa(p.PID) + "; touch " + done, Timeout: 10 * time.Second}
	go func() { _ = cmd.Wait() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Down(ctx, p); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if p.Lives() {
		t.Error("it came back with the stop half done")
	}
}

// A run killed in the middle of a stop leaves a server that is on its way down: starting must not take it for up, nor start
// a second one beside it.
func TestUpWaitsForAServerOnItsWayDown(t *testing.T) {
	p, cmd := sleeper(t)
	started := filepath.Join(t.TempDir(), "started")
	s := Service{Kind: Commands, Start: "touch " + started, Timeout: 10 * time.Second}
	go func() {
		time.Sleep(500 * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	answers := func(context.Context) error {
		if p.Lives() {
			return nil // until its last moment it answers
		}
		if found, _ := filepath.Glob(started); len(found) == 0 {
			return errors.New("nobody answers")
		}
		return nil
	}
	if err := s.Up(t.Context(), p, answers); err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(started); len(found) == 0 {
		t.Error("the dying server counted as up")
	}
}

// A stop script may take its time before it tells the server, and outlives a run that is killed meanwhile.
func TestUpWaitsForASlowStopScript(t *testing.T) {
	p, cmd := sleeper(t)
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	s := Service{Kind: Commands, Stop: "sleep 3; kill " + strconv.Itoa(p.PID), Start: "touch " + started, Mark: filepath.Join(dir, "mark"), Timeout: 20 * time.Second}
	go func() { _ = cmd.Wait() }()
	go func() { _ = s.Down(t.Context(), p) }()
	for !s.stopping() {
		time.Sleep(5 * time.Millisecond)
	}
	answers := func(context.Context) error {
		if found, _ := filepath.Glob(started); p.Lives() || len(found) > 0 {
			return nil
		}
		return errors.New("nobody answers")
	}
	if err := s.Up(t.Context(), p, answers); err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(started); len(found) == 0 {
		t.Error("a server that was being stopped counted as up")
	}
}

func TestFailingCommandTellsWhatItSaid(t *testing.T) {
	s := Service{Kind: Commands, Stop: "echo no such service >&2; exit 3", Timeout: time.Second}
	err := s.Down(t.Context(), Process{})
	if err == nil || !strings.Contains(err.Error(), "no such service") || !strings.Contains(err.Error(), "exit 3") {
		t.Fatalf("error %v", err)
	}
}

func TestFind(t *testing.T) {
	if unit := unitOf("0::/system.slice/mariadb.service"); unit != "mariadb.service" {
		t.Errorf("unit %q", unit)
	}
	if unit := unitOf("0::/user.slice/user-0.slice/user@0.service/app.slice"); unit != "" {
		t.Errorf("unit %q", unit)
	}
	if _, err := Find(Hints{Arguments: []string{"mariadbd", "--defaults-file=/x"}}, time.Second); err == nil {
		t.Error("an init script was taken to run a server with an option file of its own")
	}
}
