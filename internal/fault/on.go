//go:build fault

package fault

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Enabled reports whether this binary can inject faults.
const Enabled = true

const (
	sleepFor = 3 * time.Second // of the kind "sleep"
	gateFor  = 2 * time.Minute // of the kind "pause", whose maker may be dead
)

var errnos = map[string]error{"enospc": syscall.ENOSPC, "erofs": syscall.EROFS}

var passages atomic.Int64

// At is a boundary. It panics on a name that Boundaries does not list, so that the list cannot go stale.
func At(boundary string) error {
	if !slices.Contains(Boundaries(), boundary) {
		panic("fault: unlisted boundary " + boundary)
	}
	trace(boundary)
	name, rest, _ := strings.Cut(os.Getenv("HOLDSTILL_FAULT"), ":")
	if name != boundary {
		return nil
	}
	kind, number, _ := strings.Cut(rest, ":")
	nth := int64(1)
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		nth = n
	}
	if passages.Add(1) != nth {
		return nil
	}
	switch kind {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		sleepForever()
	case "hang":
		sleepForever()
	case "sleep":
		time.Sleep(sleepFor)
		return nil
	case "pause":
		waitAtGate()
		return nil
	case "enospc", "erofs":
		return fmt.Errorf("%w at %s: %w", ErrInjected, boundary, errnos[kind])
	}
	return fmt.Errorf("%w at %s", ErrInjected, boundary)
}

// sleepForever, not select{}: the runtime would call that a deadlock.
func sleepForever() {
	for {
		time.Sleep(time.Hour)
	}
}

// waitAtGate only looks: nothing may be written here, file systems may be frozen. The gate must lie on a tmpfs.
func waitAtGate() {
	gate := os.Getenv("HOLDSTILL_FAULT_GATE")
	for end := time.Now().Add(gateFor); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if _, err := os.Lstat(gate); err != nil {
			return
		}
	}
}

// trace appends the boundary to the file named by HOLDSTILL_FAULT_TRACE, so that a campaign learns which ones a run passes.
// The file must lie on a tmpfs: boundaries are also passed while file systems are frozen.
func trace(boundary string) {
	name := os.Getenv("HOLDSTILL_FAULT_TRACE")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(boundary + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		panic("fault: " + err.Error())
	}
}
