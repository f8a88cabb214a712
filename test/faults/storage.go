package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// freezeVolume is somebody else's freeze. It stays for as long as the run tries, or for three seconds where the run cannot but wait for
// it (a btrfs snapshot), and it must still be there then: it was never ours to thaw.
func (c *scene) freezeVolume() error {
	if err := c.probe.freeze(); err != nil {
		return err
	}
	c.run.open()
	select {
	case <-c.run.ended:
	case <-time.After(3 * time.Second):
	}
	return c.thawVolume()
}

// thawVolume takes back the freeze of freezeVolume, once.
func (c *scene) thawVolume() error {
	if c.tookBack {
		return nil
	}
	c.tookBack = true
	if err := c.probe.thaw(); errors.Is(err, unix.EINVAL) {
		c.claims = append(c.claims, "somebody else's freeze was thawed")
	} else if err != nil {
		return err
	}
	return nil
}

// breakState makes the state directory's file system read-only in the way that a broken disk does: with files open.
func (c *scene) breakState() error {
	if err := tool("mount", "-o", "remount,errors=remount-ro", c.disk.Dir); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(c.disk.Device), "trigger_fs_error"), []byte("holdstill's fault campaign"), 0)
}

func (c *scene) mendState() error {
	if err := detach(c.disk.Image, c.disk.Dir); err != nil {
		return err
	}
	_ = tool("e2fsck", "-p", "-f", c.disk.Image) // its code says that it mended something
	return attach(&c.disk.Device, c.disk.Image, c.disk.Dir)
}

// detach unmounts an image and waits until its file system is gone: for a moment another mount namespace may keep it alive, and who
// mounts it then meets the old one.
func detach(image, dir string) error {
	if err := within(5*time.Second, func() error { return tool("umount", dir) }); err != nil {
		return err
	}
	return within(20*time.Second, func() error {
		if slices.Contains(loopsBelow(filepath.Dir(image)), "loop "+image) {
			return fmt.Errorf("%s is still attached", image)
		}
		return nil
	})
}

// attach mounts an image as the lab does: the loop device goes with the mount.
func attach(device *string, image, dir string) error {
	if err := tool("mount", "-o", "loop,noatime", image, dir); err != nil {
		return err
	}
	source, err := sourceOf(dir)
	*device = source
	return err
}

func (c *scene) unmount() error { return tool("umount", "-l", c.volume.Dir) }

// mountAgain finds the file system still in use by the server, or not any more. The server is started anew: one that works in a mount
// without a path cannot open every file (MariaDB asks for the path of its directory).
func (c *scene) mountAgain() error {
	if tool("mount", "-o", "noatime", c.volume.Device, c.volume.Dir) != nil {
		if err := attach(&c.volume.Device, c.volume.Image, c.volume.Dir); err != nil {
			return err
		}
	}
	return c.restartServer()
}

// powerOff leaves nothing running and nothing mounted, as a reboot does before the disks come up, and lets recover try its best
// there. A freeze does not survive a boot.
func (c *scene) powerOff() error {
	guard := c.run.guard()
	c.kill()
	c.killedAt = time.Time{} // the bound is not about reboots
	if guard != 0 {
		_ = syscall.Kill(guard, syscall.SIGKILL)
	}
	_ = c.probe.thaw()
	if err := c.subject.Kill(); err != nil {
		return err
	}
	c.probe.stop()
	c.tookBack = true
	if err := detach(c.volume.Image, c.volume.Dir); err != nil {
		return err
	}
	if c.outer != nil {
		if err := detach(c.outer.Image, c.outer.Dir); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(c.runDir); err != nil {
		return err
	}
	return c.recoverAfterBoot(0, 1, 6)
}

func (c *scene) powerOn() error {
	if c.outer != nil {
		if err := attach(&c.outer.Device, c.outer.Image, c.outer.Dir); err != nil {
			return err
		}
	}
	err := attach(&c.volume.Device, c.volume.Image, c.volume.Dir)
	if err == nil {
		c.probe, err = watchVolume(c.volume.Dir)
	}
	if err == nil {
		err = c.subject.Start(c.ctx)
	}
	if err == nil {
		err = c.recoverAfterBoot(0)
	}
	return err
}

// recoverAfterBoot runs recover where the kernel tells another boot id, in a mount namespace that sees it so.
func (c *scene) recoverAfterBoot(codes ...int) error {
	id := filepath.Join(c.tmp, "boot_id")
	if err := os.WriteFile(id, []byte("00000000-0000-4000-8000-000000000001\n"), 0o600); err != nil {
		return err
	}
	r, err := c.launch("", "unshare", "--mount", "sh", "-c",
		`mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"`, "sh", id, c.program, "--config", c.config, "recover")
	if err != nil {
		return err
	}
	code := r.wait(3 * time.Minute)
	for _, c := range codes {
		if code == c {
			return nil
		}
	}
	return fmt.Errorf("recover after a reboot ended with %d: %s", code, r.said())
}

// sourceOf is the device that is mounted at the directory.
func sourceOf(dir string) (string, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	source := ""
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == dir {
			source = f[0] // the last one is on top
		}
	}
	if source == "" {
		err = fmt.Errorf("nothing is mounted at %s", dir)
	}
	return source, err
}
