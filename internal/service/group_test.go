package service

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestGroupLives(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "sleep 1000 & exec sleep 1000")
	cmd.SysProcAttr = ownSession()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := cmd.Process.Pid
	defer func() { _ = syscall.Kill(-group, syscall.SIGKILL) }()
	time.Sleep(100 * time.Millisecond)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !GroupLives(group) {
		t.Error("its leader is gone, but the other lives")
	}
	if err := syscall.Kill(-group, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); GroupLives(group); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is dead, and still counts")
		}
	}
}
