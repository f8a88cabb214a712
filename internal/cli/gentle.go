package cli

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ioprio_set(2) is not in golang.org/x/sys: one thread, best effort, the lowest of eight levels (linux/ioprio.h).
const (
	ioprioWhoProcess = 1
	ioprioLowest     = 2<<13 | 7
)

// gentle makes this process wait behind others for the disks and the processors: a server runs beside it. Threads that begin later
// inherit it from the one that begins them.
func gentle() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		// A thread that has ended meanwhile, or a kernel that does not want to, is no reason not to ship.
		_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, uintptr(id), ioprioLowest)
		_ = unix.Setpriority(unix.PRIO_PROCESS, id, 10)
	}
}
