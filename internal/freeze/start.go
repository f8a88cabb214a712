package freeze

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
)

// readyLimit bounds the start of a guard.
const readyLimit = 15 * time.Second

// point is one mount point to freeze, as the ledger keeps it.
type point struct {
	Path   string `json:"path"`
	Major  int    `json:"major"`
	Minor  int    `json:"minor"`
	FSID   string `json:"fsid"` // of statfs: the device number may be given to another file system
	Device string `json:"device"`
	FSType string `json:"filesystem"`

	dir *os.File
}

// Start starts a guard that can freeze the file systems of the mount points, in this order; it returns when the guard is ready. It
// freezes nothing yet. The deadline counts from the first freeze call. The evidence file is made anew; it must lie on a file
// system that is not frozen, best on a tmpfs.
func Start(ctx context.Context, mountpoints []string, deadline time.Duration, evidence string) (*Guard, error) {
	g := &Guard{evidencePath: evidence, deadline: deadline, replies: make(chan reply, 8), gone: make(chan struct{})}
	if err := g.start(ctx, mountpoints); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start a freeze guard: %w", err), g.release())
	}
	return g, nil
}

func (g *Guard) start(ctx context.Context, mountpoints []string) error {
	if g.deadline <= 0 {
		return errors.New("it has no deadline")
	}
	if err := g.openPoints(mountpoints); err != nil {
		return err
	}
	if err := g.openEvidence(); err != nil {
		return err
	}
	if err := g.spawn(); err != nil {
		return err
	}
	return g.awaitReady(ctx)
}

func (g *Guard) openPoints(mountpoints []string) error {
	for _, path := range mountpoints {
		place, err := mount.Locate(path)
		if err != nil {
			return err
		}
		if g.has(place) {
			continue // the same file system twice: the second FIFREEZE would meet our own and say EBUSY
		}
		dir, err := os.Open(place.Real)
		if err != nil {
			return err
		}
		p := point{Path: place.Real, Major: place.Major, Minor: place.Minor, Device: place.Device, FSType: place.FSType, dir: dir}
		g.points = append(g.points, p)
		if g.points[len(g.points)-1].FSID, err = fsid(int(dir.Fd())); err != nil {
			return fmt.Errorf("cannot identify the file system of %s: %w", path, err)
		}
	}
	if len(g.points) == 0 {
		return errors.New("there is nothing to freeze")
	}
	return nil
}

func (g *Guard) has(place mount.Place) bool {
	for _, p := range g.points {
		if p.Major == place.Major && p.Minor == place.Minor {
			return true
		}
	}
	return false
}

func fsid(fd int) (string, error) {
	var st unix.Statfs_t
	err := unix.Fstatfs(fd, &st)
	return fmt.Sprintf("%08x%08x", uint32(st.Fsid.Val[0]), uint32(st.Fsid.Val[1])), err
}

func (g *Guard) openEvidence() error {
	place, err := mount.Locate(filepath.Dir(g.evidencePath))
	if err != nil {
		return err
	}
	if g.has(place) {
		return fmt.Errorf("the evidence %s would lie on a file system that is to be frozen; choose a run directory on a tmpfs", g.evidencePath)
	}
	f, err := os.OpenFile(g.evidencePath, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	g.made = true
	states := make([]byte, len(g.points))
	for i := range states {
		states[i] = untouched
	}
	if _, err := f.Write(states); err != nil {
		return err
	}
	g.evidence, err = unix.Mmap(int(f.Fd()), 0, len(states), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return err
}

// spawn starts our own binary again, in a session of its own, with the mount points and one end of a socketpair.
func (g *Guard) spawn() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return err
	}
	theirs := os.NewFile(uintptr(pair[1]), "guard socket")
	defer theirs.Close()
	g.socket = os.NewFile(uintptr(pair[0]), "guard socket")
	g.process = &exec.Cmd{
		Path:        "/proc/self/exe", // the binary that runs, even if a newer one was installed meanwhile
		Args:        []string{"holdstill", Command, g.deadline.String(), strconv.Itoa(len(g.points)), g.evidencePath},
		Dir:         "/",                                        // never the directory that is frozen
		Env:         []string{"GOGC=off", "GOTRACEBACK=single"}, // and none of our secrets
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		ExtraFiles:  []*os.File{theirs},
	}
	for _, p := range g.points {
		g.process.ExtraFiles = append(g.process.ExtraFiles, p.dir)
	}
	if err := g.process.Start(); err != nil {
		return err
	}
	g.started = true
	go g.read()
	return nil
}

func (g *Guard) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	select {
	case r := <-g.replies:
		if r.kind != sayReady {
			return fmt.Errorf("the guard says: %s", r.text)
		}
		g.note = r.text
		return nil
	case <-g.gone:
		select {
		case r := <-g.replies:
			return fmt.Errorf("the guard says: %s", r.text)
		default:
			return errors.New("the guard ended at once")
		}
	case <-ctx.Done():
		return fmt.Errorf("the guard did not become ready: %w", ctx.Err())
	}
}
