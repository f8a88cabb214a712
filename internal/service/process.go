package service

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// Process names a process so that another one with its number later is not taken for it. The zero value names none.
type Process struct {
	PID   int    `json:"pid,omitempty"`
	Since string `json:"since,omitempty"` // its start, in clock ticks after the boot: field 22 of proc(5) stat
}

// ProcessOf names the process that has the number now.
func ProcessOf(pid int) Process {
	fields, ok := stat(pid)
	if !ok {
		return Process{}
	}
	return Process{PID: pid, Since: fields[startField]}
}

// Two fields of /proc/PID/stat, counted from the one behind the name: the third and the twenty-second of the line.
const (
	stateField = 0
	startField = 19
)

// stat reads what follows the name: that stands in brackets and may hold anything.
func stat(pid int) ([]string, bool) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || pid <= 0 {
		return nil, false
	}
	fields := strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:]))
	return fields, len(fields) > startField
}

// Lives reports whether the process exists: a zombie does not, but where PID 1 is lazy it answers signals for seconds. One with
// threads left does: they may still hold the files open.
func (p Process) Lives() bool {
	fields, ok := stat(p.PID)
	if !ok || fields[startField] != p.Since {
		return false
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.PID))
	return err == nil && (len(tasks) > 1 || !strings.Contains("ZXx", fields[stateField]))
}

// Lives reports whether the process that has the number now lives.
func Lives(pid int) bool { return ProcessOf(pid).Lives() }
