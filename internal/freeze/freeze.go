// Package freeze stills file systems (FIFREEZE) behind a guard process, so that whatever happens to us they are thawed again.
//
// A freeze outlives the process that made it, cannot be cancelled while the kernel waits for writers, and blocks whoever
// writes in state D, where kill -9 does nothing. So the guard, not we, calls FIFREEZE: our own binary, started before the
// window with everything open that it needs. It thaws what it froze when it is told to, when its pipe to us breaks, or at its
// deadline, whichever is first. It never thaws what it did not freeze: EBUSY means somebody else's freeze.
//
// # The evidence file
//
// If the guard is killed too, the evidence file says what it froze. It has one byte for each mount point, in the order of
// the deed's args, and is written through shared memory, so that nothing is written to a disk inside the window. It must lie
// on a tmpfs (a freeze does not survive a boot either). As long as the guard lives it holds a flock(2) on the file.
//
//	'.'  untouched
//	'f'  FIFREEZE was called and has not returned
//	'F'  frozen by us
//	't'  thawed by us
//	'r'  refused, so not frozen by us
package freeze

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is the kind of our deeds in the undo registry.
const Kind = "freeze"

// Command is os.Args[1] of a guard process; main hands the arguments after it to GuardMain before it does anything else.
const Command = "guard-process"

// ErrThawedEarly means that a file system was thawed before we asked for it: what was cut meanwhile is void.
var ErrThawedEarly = errors.New("the file system was thawed too early")

// ErrFrozenByOthers means that a file system was frozen before we came. It is not ours to thaw.
var ErrFrozenByOthers = errors.New("it is frozen already, by somebody else")

// Times tells a freeze as it was measured, by the monotonic clock; zero is what did not happen.
type Times struct {
	Asked  time.Time // the first FIFREEZE was called
	Frozen time.Time // the last FIFREEZE returned
	Thawed time.Time // the last FITHAW returned
}

// The ioctls of include/uapi/linux/fs.h: _IOWR('X', 119, int) and _IOWR('X', 120, int); amd64 and arm64 agree on them.
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

const (
	untouched = '.'
	freezing  = 'f'
	frozen    = 'F'
	thawed    = 't'
	refused   = 'r'
)

// ioctlFreeze blocks until every writer is out and all is written; nothing can interrupt it.
func ioctlFreeze(fd int) unix.Errno { return ioctl(fd, fiFreeze) }

// ioctlThaw says EINVAL if the file system was not frozen.
func ioctlThaw(fd int) unix.Errno { return ioctl(fd, fiThaw) }

func ioctl(fd int, request uintptr) unix.Errno {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, 0)
		if errno != unix.EINTR {
			return errno
		}
	}
}

func cannotFreeze(path string, errno unix.Errno) error {
	switch errno {
	case unix.EBUSY:
		return fmt.Errorf("cannot freeze %s: %w", path, ErrFrozenByOthers)
	case unix.EOPNOTSUPP, unix.ENOTTY:
		return fmt.Errorf("cannot freeze %s: its file system cannot be frozen: %w", path, errno)
	case unix.EPERM:
		return fmt.Errorf("cannot freeze %s: it needs CAP_SYS_ADMIN: %w", path, errno)
	}
	return fmt.Errorf("cannot freeze %s: %w", path, errno)
}

func manual(points []point) string {
	var out []string
	for i := len(points) - 1; i >= 0; i-- {
		out = append(out, "fsfreeze --unfreeze "+quote(points[i].Path))
	}
	return strings.Join(out, "; ")
}

// quote makes a word of a shell command; plain words stay as they are.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
