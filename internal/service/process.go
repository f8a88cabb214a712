package service

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// Lives reports whether a process exists: a zombie does not, but where PID 1 is lazy it answers signals for seconds. One with
// threads left does: they may still hold the files open.
func Lives(pid int) bool {
	if pid <= 0 {
		return false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name in brackets may hold anything, so the state is what follows the last bracket.
	at := bytes.LastIndexByte(status, ')')
	if at < 0 {
		return false
	}
	_, rest, ok := bytes.Cut(status[at:], []byte(" "))
	if !ok || len(rest) == 0 {
		return false
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && (len(tasks) > 1 || !strings.ContainsRune("ZXx", rune(rest[0])))
}
