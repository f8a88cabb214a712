package freeze

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// harden makes it unlikely that the guard itself is what fails. It returns what could not be had, in words: a container may
// forbid it, and an unhardened guard is better than none.
func harden() string {
	var weak []string
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0); err != nil {
		weak = append(weak, "the guard can be killed when memory runs out: "+err.Error())
	}
	if err := lockMemory(); err != nil {
		weak = append(weak, "the guard can be swapped out: "+err.Error())
	}
	return strings.Join(weak, "; ")
}

// lockMemory keeps what the guard uses in memory: nothing is read back from a disk that may hang. Locking all that is mapped
// would fill the 120 MB that Go's runtime only reserves, so data is locked once it is touched, and the program at once.
func lockMemory() error {
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("mlockall: %w", err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		var start, end uintptr
		if _, err := fmt.Sscanf(line, "%x-%x", &start, &end); err != nil || !strings.HasSuffix(strings.TrimSpace(line), " "+exe) {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MLOCK, start, end-start, 0); errno != 0 {
			return fmt.Errorf("mlock: %w", errno)
		}
	}
	return nil
}
