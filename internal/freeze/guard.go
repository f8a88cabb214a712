package freeze

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The guard's descriptors, by position in exec.Cmd.ExtraFiles.
const (
	guardSocket = 3
	guardPoints = 4
)

// GuardMain is the guard process; args are those after Command, as Start made them. It returns the exit code.
func GuardMain(args []string) int {
	// Whatever is sent to our process group or by a careless operator: thawing comes first, then we end by ourselves.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGUSR1)
	debug.SetGCPercent(-1)
	g, err := newGuardian(args)
	if err != nil {
		say(reply{kind: sayFailed, text: err.Error()})
		return 1
	}
	go g.listen()
	go g.freezer()
	say(reply{kind: sayReady, text: harden()})
	return g.guard()
}

// guardian is the state of a guard process.
type guardian struct {
	deadline time.Duration
	evidence []byte
	lock     *os.File // the evidence, open: its flock says that this guard lives, and the garbage collector must not end that

	commands chan byte     // from listen; closed when the parent is gone
	begin    chan struct{} // to freezer
	done     chan reply    // from freezer: it calls no FIFREEZE any more
	busy     bool          // freezer was begun and is not done

	mu   sync.Mutex // guards evidence and stop
	stop bool       // freeze nothing more; what is frozen late is thawed at once
	last reply      // what thawing met
}

func newGuardian(args []string) (*guardian, error) {
	if len(args) != 3 {
		return nil, errors.New("a guard is started by holdstill itself, never by hand")
	}
	deadline, err := time.ParseDuration(args[0])
	if err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	// Opened anew, so that the lock is the guard's alone and ends with its last thread.
	f, err := os.OpenFile(args[2], os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", args[2], err)
	}
	evidence, err := unix.Mmap(int(f.Fd()), 0, count, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("cannot map %s: %w", args[2], err)
	}
	return &guardian{
		deadline: deadline, evidence: evidence, lock: f,
		commands: make(chan byte, 4), begin: make(chan struct{}, 1), done: make(chan reply, 1),
	}, nil
}

// say never blocks: if the parent does not listen, so be it.
func say(r reply) {
	var buf [512]byte
	_ = unix.Sendto(guardSocket, r.encode(buf[:]), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
}

func (g *guardian) listen() {
	runtime.LockOSThread()
	var buf [16]byte
	for {
		n, _, err := unix.Recvfrom(guardSocket, buf[:], 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n <= 0:
			close(g.commands)
			return
		default:
			g.commands <- buf[0]
		}
	}
}

// guard waits for what comes first: a command, the parent's end, the deadline. Thawing ends it.
func (g *guardian) guard() int {
	deadline := time.NewTimer(time.Hour)
	deadline.Stop()
	for {
		select {
		case command, ok := <-g.commands:
			switch {
			case !ok:
				return g.thaw(onOrphaned)
			case command == askThaw:
				return g.thaw(onCommand)
			case command == askFreeze && !g.busy:
				g.busy = true
				deadline.Reset(g.deadline)
				g.begin <- struct{}{}
			}
		case r := <-g.done:
			g.busy = false
			if r.errno != 0 {
				g.thawFrozen() // before the answer, which lets the parent go on
			}
			say(r)
			if r.errno != 0 {
				return g.thaw(onFailure)
			}
			g.done = nil
			g.busy = false
		case <-deadline.C:
			return g.thaw(onDeadline)
		}
	}
}

// thaw ends the guard: it thaws what is frozen, waits for a FIFREEZE that is still in the kernel (freezer thaws that one),
// and says its last word.
func (g *guardian) thaw(why byte) int {
	g.thawFrozen()
	if g.busy {
		if why == onDeadline {
			say(reply{kind: sayFrozen, why: why, point: g.current(), errno: unix.ETIMEDOUT})
		}
		<-g.done
	}
	g.mu.Lock()
	last := g.last
	g.mu.Unlock()
	last.kind = sayThawed
	if last.why == 0 || why != onCommand {
		last.why = why
	}
	last.second = monotonic()
	say(last)
	if last.errno != 0 {
		return 1
	}
	return 0
}

func (g *guardian) thawFrozen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop = true
	for i := len(g.evidence) - 1; i >= 0; i-- {
		if g.evidence[i] == frozen {
			g.thawOne(i)
		}
	}
}

// thawOne needs mu. A failing thaw is tried again for a while: the next who could is a person.
func (g *guardian) thawOne(i int) {
	for try := 0; ; try++ {
		errno := ioctlThaw(guardPoints + i)
		switch {
		case errno == 0:
			g.evidence[i] = thawed
			return
		case errno == unix.EINVAL:
			g.evidence[i] = thawed
			g.last.why = byOthers
			g.last.point = uint16(i)
			return
		case try == 100:
			g.last.errno, g.last.point = errno, uint16(i)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (g *guardian) current() uint16 {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, state := range g.evidence {
		if state == freezing {
			return uint16(i)
		}
	}
	return 0
}

// freezer calls FIFREEZE, which can block for as long as it likes, on a thread of its own.
func (g *guardian) freezer() {
	runtime.LockOSThread()
	<-g.begin
	r := reply{kind: sayFrozen, first: monotonic()}
	for i := range g.evidence {
		g.mu.Lock()
		if g.stop {
			g.mu.Unlock()
			break
		}
		g.evidence[i] = freezing
		g.mu.Unlock()
		errno := ioctlFreeze(guardPoints + i)
		g.froze(i, errno)
		if errno != 0 {
			r.errno, r.point = errno, uint16(i)
			break
		}
	}
	r.second = monotonic()
	g.done <- r
}

func (g *guardian) froze(i int, errno unix.Errno) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if errno != 0 {
		g.evidence[i] = refused
		return
	}
	g.evidence[i] = frozen
	if g.stop {
		g.thawOne(i)
	}
}
