package freeze

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/undo"
)

// Undoer takes back a freeze of a run that is dead. It waits for a guard that still lives, which thaws by itself, and then
// thaws what the evidence says was left frozen. After a reboot there is nothing to do, nor without evidence: that is made before the
// promise and removed after the thaw.
func Undoer(ctx context.Context, d undo.Deed) error {
	var a args
	if err := json.Unmarshal(d.Args, &a); err != nil {
		return fmt.Errorf("cannot read the deed: %w", err)
	}
	f, err := os.Open(a.Evidence)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if a.Boot == undo.BootID() {
		if err := thawLeft(ctx, f, a.Points); err != nil {
			return err
		}
	}
	if err := os.Remove(a.Evidence); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func thawLeft(ctx context.Context, evidence *os.File, points []point) error {
	if err := awaitGuard(ctx, evidence); err != nil {
		return err
	}
	states := make([]byte, len(points))
	if _, err := evidence.ReadAt(states, 0); err != nil {
		return fmt.Errorf("cannot read the evidence %s: %w", evidence.Name(), err)
	}
	var all []error
	for i := len(points) - 1; i >= 0; i-- {
		if states[i] == freezing || states[i] == frozen {
			all = append(all, points[i].thaw())
		}
	}
	return errors.Join(all...)
}

// awaitGuard waits until no guard holds the evidence. A killed guard counts as alive as long as its FIFREEZE is in the
// kernel: thawing before that returns would thaw nothing and leave the file system frozen a moment later.
func awaitGuard(ctx context.Context, evidence *os.File) error {
	for {
		err := unix.Flock(int(evidence.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the guard that holds %s has not ended: %w", evidence.Name(), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// thaw thaws the file system if it is still the same; its mount point may be hidden or gone while another shows it.
func (p point) thaw() error {
	for _, path := range append([]string{p.Path}, mount.PointsOf(p.Major, p.Minor)...) {
		done, err := p.thawAt(path)
		if done || err != nil {
			return err
		}
	}
	if p.dead() {
		return nil
	}
	return fmt.Errorf("cannot thaw %s: it is not mounted any more, but a file system stays frozen even then; "+
		"mount %s (%s) again, then type: fsfreeze --unfreeze DIRECTORY", p.Path, p.Device, p.FSType)
}

func (p point) thawAt(path string) (bool, error) {
	place, err := mount.Locate(path)
	if err != nil || place.Major != p.Major || place.Minor != p.Minor {
		return false, nil
	}
	dir, err := os.Open(place.Real)
	if err != nil {
		return false, nil
	}
	defer dir.Close()
	if id, err := fsid(int(dir.Fd())); err != nil || id != p.FSID {
		return false, nil
	}
	if errno := ioctlThaw(int(dir.Fd())); errno != 0 && errno != unix.EINVAL {
		return false, fmt.Errorf("cannot thaw %s: %w", path, errno)
	}
	return true, nil
}

// dead reports that the kernel has no such file system any more: ext4 and xfs show each one that lives.
func (p point) dead() bool {
	if p.FSType != "ext4" && p.FSType != "xfs" {
		return false
	}
	_, err := os.Stat(filepath.Join("/sys/fs", p.FSType, filepath.Base(p.Device)))
	return errors.Is(err, os.ErrNotExist)
}
