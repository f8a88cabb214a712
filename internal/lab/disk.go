package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Disk is a volume on a disk whose power can be cut. The loop device lies on a file that qemu-storage-daemon shows through FUSE; behind
// it is a qcow2 overlay over an image. Where something is written for the first time the daemon keeps the map of it in its memory until
// it is told to flush, so killing it loses what was not flushed, at native speed. Each time the disk is opened it gets a new overlay, so
// that this holds for every write, not only for the first to a place.
//
// The daemon passes no flush on to the machine's own disk: it is the daemon that dies, never the machine.
type Disk struct {
	*Volume

	lab     *Lab
	base    string // what survived the cuts so far
	overlay string
	daemon  *os.Process
	ended   chan struct{} // the daemon has
	carried []*Volume
}

// How long the daemon may take to show the disk, and the kernel to let go of one that is dead.
const (
	diskAppears = 20 * time.Second
	diskGoes    = 60 * time.Second
)

// Disk makes a volume on a disk of its own at dir/name.
func (l *Lab) Disk(ctx context.Context, name, fs string, bytes int64) (*Disk, error) {
	d, err := l.makeDisk(ctx, name, fs, bytes)
	if err != nil {
		return nil, fmt.Errorf("cannot make the %s disk %s: %w", fs, name, err)
	}
	return d, nil
}

func (l *Lab) makeDisk(ctx context.Context, name, fs string, bytes int64) (*Disk, error) {
	file := filepath.Join(l.dir, "images", name)
	d := &Disk{Volume: &Volume{Image: file + ".disk", FS: fs}, lab: l, base: file + ".base", overlay: file + ".qcow2"}
	format, err := mkfs(fs, d.base)
	if err != nil {
		return nil, err
	}
	if d.Dir, err = l.take(name); err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(d.Dir, 0o755), sparse(d.base, bytes), sparse(d.Image, 0)); err != nil {
		return nil, err
	}
	if _, err := run(ctx, format[0], format[1:]...); err != nil {
		return nil, err
	}
	return d, d.open(ctx)
}

// Carry tells the disk of a volume whose image lies on it, so that it comes back with it. Outer volumes come first.
func (d *Disk) Carry(v *Volume) { d.carried = append(d.carried, v) }

// open gives the disk power.
func (d *Disk) open(ctx context.Context) error {
	if _, err := run(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", d.base, d.overlay); err != nil {
		return err
	}
	if err := d.startDaemon(ctx); err != nil {
		return err
	}
	for _, v := range append([]*Volume{d.Volume}, d.carried...) {
		if err := v.attach(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) startDaemon(ctx context.Context) error {
	said, err := os.Create(d.base + ".log")
	if err != nil {
		return err
	}
	defer said.Close()
	// not CommandContext: it lives as long as the lab. The reaper knows it by the first of its file names.
	daemon := exec.Command("qemu-storage-daemon",
		"--blockdev", "filename="+d.overlay+",driver=file,node-name=file,cache.no-flush=on",
		"--blockdev", "driver=qcow2,node-name=disk,file=file",
		"--export", "type=fuse,id=export,node-name=disk,mountpoint="+d.Image+",writable=on")
	daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a ^C is for the maker
	daemon.Dir = "/"
	daemon.Stdout, daemon.Stderr = said, said
	if err := daemon.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	d.daemon, d.ended = daemon.Process, ended
	go func() {
		_ = daemon.Wait() // mostly it was killed
		close(ended)
	}()
	return d.appear(ctx, said.Name())
}

// appear waits until the daemon shows the disk: its file has no size before.
func (d *Disk) appear(ctx context.Context, log string) error {
	ctx, cancel := context.WithTimeout(ctx, diskAppears)
	defer cancel()
	for {
		if info, err := os.Stat(d.Image); err == nil && info.Size() > 0 {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
			continue
		case <-d.ended:
		case <-ctx.Done():
		}
		said, err := os.ReadFile(log)
		return errors.Join(fmt.Errorf("qemu-storage-daemon shows no disk: %s", telling(string(said), 5)), ctx.Err(), err, d.Cut())
	}
}

// Cut takes the power away, at once: what was not flushed is lost, and whoever reads or writes there gets errors. The processes that use
// the disk are for the caller to kill, as a power cut would.
func (d *Disk) Cut() error {
	err := d.daemon.Kill()
	<-d.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Reopen gives the disk its power back after Cut, as it was found: the file systems recover when they are mounted.
func (d *Disk) Reopen(ctx context.Context) error {
	if err := d.forget(ctx); err != nil {
		return fmt.Errorf("cannot take the dead disk %s away: %w", d.Dir, err)
	}
	if _, err := run(ctx, "qemu-img", "commit", "-q", "-f", "qcow2", d.overlay); err != nil {
		return fmt.Errorf("cannot reopen the disk %s: %w", d.Dir, err)
	}
	if err := errors.Join(os.Remove(d.overlay), d.open(ctx)); err != nil {
		return fmt.Errorf("cannot reopen the disk %s: %w", d.Dir, err)
	}
	return nil
}

// forget makes the kernel, which lost no power, let go of the dead disk: thawed, unmounted, detached. Only when the loop is gone
// nothing of its file system lives on in memory, where the next mount might find it.
func (d *Disk) forget(ctx context.Context) error {
	all := append([]*Volume{d.Volume}, d.carried...)
	for i := len(all) - 1; i >= 0; i-- {
		v := all[i]
		_, _ = run(ctx, "fsfreeze", "--unfreeze", v.Dir) // mostly it is not frozen
		if _, err := run(ctx, "umount", "--lazy", v.Dir); err != nil {
			return err
		}
		backing := filepath.Join("/sys/block", filepath.Base(v.Device), "loop/backing_file")
		for deadline := time.Now().Add(diskGoes); ; time.Sleep(10 * time.Millisecond) {
			file, err := os.ReadFile(backing)
			if err != nil || !strings.HasPrefix(string(file), v.Image) {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("somebody still uses %s, which was mounted at %s", v.Device, v.Dir)
			}
		}
	}
	_, err := run(ctx, "umount", "--lazy", d.Image)
	return err
}
