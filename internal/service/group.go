package service

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// groupField is the process group, counted like stateField.
const groupField = 2

// GroupLives reports whether a process group has a member that is no zombie: those wait for a parent that may be lazy, and do nothing.
func GroupLives(group int) bool {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return true
	}
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		if fields, ok := stat(pid); ok && fields[groupField] == strconv.Itoa(group) && runs(pid, fields[stateField]) {
			return true
		}
	}
	return false
}

// runs reports whether a process is no zombie, or one with threads left.
func runs(pid int, state string) bool {
	if !strings.Contains("ZXx", state) {
		return true
	}
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	return err == nil && len(tasks) > 1
}
