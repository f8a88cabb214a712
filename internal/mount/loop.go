package mount

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// loopWait bounds the search for a free loop device while others take them too.
const loopWait = 5 * time.Second

// Loop is a loop device of our own. The kernel clears it when nobody has it open any more, so it is gone with Close
// (or with the mount made from it), or with the process, kill -9 included.
type Loop struct {
	device *os.File
	// Path is the block device: "/dev/loop3".
	Path string
}

// AttachLoop makes a block device of a file; readOnly also opens the file read-only.
func AttachLoop(file string, readOnly bool) (*Loop, error) {
	loop, err := attachLoop(file, readOnly)
	if err != nil {
		return nil, fmt.Errorf("cannot attach %s to a loop device: %w", file, err)
	}
	return loop, nil
}

func attachLoop(file string, readOnly bool) (*Loop, error) {
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	backing, err := os.OpenFile(file, flags, 0)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for end := time.Now().Add(loopWait); ; time.Sleep(time.Millisecond) {
		loop, err := tryLoop(control, backing, flags, readOnly)
		// Between GET_FREE and CONFIGURE another process can take the device (EBUSY), and a device that is just added
		// has no node yet (ENOENT, ENXIO).
		retry := errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENXIO)
		if err == nil || !retry || time.Now().After(end) {
			return loop, err
		}
	}
}

func tryLoop(control, backing *os.File, flags int, readOnly bool) (*Loop, error) {
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("no free loop device: %w", err)
	}
	path := fmt.Sprintf("/dev/loop%d", number)
	device, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(backing.Fd())}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	if readOnly {
		config.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], backing.Name())
	if err := unix.IoctlLoopConfigure(int(device.Fd()), &config); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), device.Close())
	}
	return &Loop{device: device, Path: path}, nil
}

// Close lets go of the device. A mount made from it keeps it until it is unmounted.
func (l *Loop) Close() error {
	if l == nil {
		return nil
	}
	if err := l.device.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
