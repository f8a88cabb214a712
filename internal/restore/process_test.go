package restore

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A socket's lock goes with the process that made it, though nobody has reaped that.
func TestLockOfADeadServer(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	path := filepath.Join(t.TempDir(), "mysqld.sock.lock")
	if err := os.WriteFile(path, fmt.Appendln(nil, cmd.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dropDeadLock(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error("the lock of a process that lives is gone")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for Lives(cmd.Process.Pid) { // now a zombie
		time.Sleep(time.Millisecond)
	}
	if err := dropDeadLock(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the lock of a dead process is there")
	}
	if err := dropDeadLock(path); err != nil {
		t.Errorf("without a lock: %v", err)
	}
}
