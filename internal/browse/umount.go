package browse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
)

// settle is how long an unmount is tried again for which no user is found: the kernel lets go of a file a little after its reader.
const settle = time.Second

// Umount takes a mount of ours away with all that is mounted below it, or changes nothing and tells who uses it, as ErrBusy. A dead one has
// no user who could still read anything, so it is taken away in any case.
func Umount(m *Mounted, pieces []string) error {
	if m.Dead() {
		return Detach(m)
	}
	if err := strange(m, pieces); err != nil {
		return err
	}
	for end := time.Now().Add(settle); ; time.Sleep(20 * time.Millisecond) {
		if users := Users(m.Dir); len(users) > 0 {
			return fmt.Errorf("%s is %w: %s", m.Dir, ErrBusy, told(users))
		}
		err := unmountAll(m.Dir)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return wrapBusy(err)
		}
	}
}

// Detach takes a mount out of sight at once; it is gone with its last user.
func Detach(m *Mounted) error {
	if err := unix.Unmount(m.Dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("cannot detach %s: %w", m.Dir, err)
	}
	return nil
}

func wrapBusy(err error) error {
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: %w, by something that no process of this machine shows", err, ErrBusy)
	}
	return err
}

// told names a few.
func told(users []User) string {
	const most = 5
	var words []string
	for _, u := range users[:min(most, len(users))] {
		words = append(words, u.String())
	}
	if more := len(users) - most; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, "; ")
}

// strange finds what others mounted below. Pieces are what we attached ourselves; nil: nobody knows.
func strange(m *Mounted, pieces []string) error {
	if pieces == nil && !m.Stored {
		return nil
	}
	all, err := under(m.Dir)
	if err != nil {
		return fmt.Errorf("cannot list the mounts: %w", err)
	}
	for _, other := range all {
		if rel, _ := mount.Below(m.Dir, other.Mountpoint); rel != "" && !slices.Contains(pieces, "/"+rel) {
			return fmt.Errorf("%s is %w: %s (%s) is mounted at %s", m.Dir, ErrBusy, other.Source, other.FSType, other.Mountpoint)
		}
	}
	return nil
}

// away is a mount that was unmounted, and can be put back.
type away struct {
	fd    int
	point string
}

// unmountAll unmounts what lies at dir and below it, the last one first. If one cannot be, those before it are put back.
func unmountAll(dir string) error {
	all, err := under(dir)
	if err != nil {
		return fmt.Errorf("cannot list the mounts: %w", err)
	}
	var done []away
	defer func() {
		for _, a := range done {
			_ = unix.Close(a.fd)
		}
	}()
	for _, m := range slices.Backward(all) {
		fd, err := unix.OpenTree(unix.AT_FDCWD, m.Mountpoint, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
		if err == nil {
			err = unix.Unmount(m.Mountpoint, unix.UMOUNT_NOFOLLOW)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("cannot unmount %s: %w", m.Mountpoint, err), putBack(done))
		}
		done = append(done, away{fd, m.Mountpoint})
	}
	return nil
}

func putBack(done []away) error {
	var all []error
	for _, a := range slices.Backward(done) {
		if err := unix.MoveMount(a.fd, "", unix.AT_FDCWD, a.point, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			all = append(all, fmt.Errorf("cannot put back what was mounted at %s: %w", a.point, err))
		}
	}
	return errors.Join(all...)
}
