package browse

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	source = "holdstill" // as the mount table shows it
	device = "/dev/fuse"
	// maxRead is the longest read that the kernel asks for at once, in bytes, and how far it reads ahead.
	maxRead = 1 << 20
	// atOnce is how many reads the kernel may have under way ahead of its readers: a store far away answers each after a while.
	atOnce = 64
)

// openDevice gives a plain descriptor, since go-fuse takes it over.
func openDevice() (int, error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		return fd, nil
	}
	err = fmt.Errorf("cannot open %s: %w", device, err)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return -1, fmt.Errorf("%w: this kernel has no FUSE, or this container no such device: try modprobe fuse, or let the container have it (--device %s)", err, device)
	case errors.Is(err, os.ErrPermission):
		return -1, fmt.Errorf("%w: it needs root, and a container that may use the device (--device %s --cap-add SYS_ADMIN)", err, device)
	}
	return -1, err
}

// options of the mount. Servers run as a user of their own, so all users may look, and the kernel checks owners and modes.
func options(fd int) []string {
	return []string{
		"ro", fmt.Sprintf("fd=%d", fd), fmt.Sprintf("rootmode=%o", unix.S_IFDIR), fmt.Sprintf("user_id=%d", os.Geteuid()),
		fmt.Sprintf("group_id=%d", os.Getegid()), "allow_other", "default_permissions", fmt.Sprintf("max_read=%d", maxRead), "subtype=holdstill",
	}
}

// serverOptions: what is read lies in memory and goes to the kernel by one gathering write, so there is nothing to splice.
func serverOptions(log *slog.Logger) *fuse.MountOptions {
	return &fuse.MountOptions{
		MaxWrite: maxRead, MaxReadAhead: maxRead, MaxBackground: atOnce,
		DisableXAttrs: true, DisableSplice: true,
		// Nothing changes, so the kernel need not look whether anything did.
		ExplicitDataCacheControl: true, EnableSymlinkCaching: true,
		Logger: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
