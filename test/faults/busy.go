package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// busyFor is how long the statements and transactions of others last: longer than the patience of a hold, shorter than a run.
const busyFor = 2500 * time.Millisecond

// keepBusy runs statements on one connection of the server, in the background; the last of them waits for the end.
func (c *scene) keepBusy(statements ...string) error {
	server := c.subject
	ctx, cancel := context.WithTimeout(c.ctx, 60*time.Second)
	c.busy, c.busyEnd = cancel, make(chan struct{})
	begun := make(chan error, 1)
	go func() {
		defer close(c.busyEnd)
		db, err := server.DB()
		if err != nil {
			begun <- err
			return
		}
		defer db.Close()
		conn, err := db.Conn(ctx)
		if err != nil {
			begun <- err
			return
		}
		defer conn.Close()
		begun <- nil
		for _, statement := range statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return // the hold won, or the campaign is over
			}
		}
	}()
	err := <-begun
	time.Sleep(100 * time.Millisecond) // they are under way
	return err
}

func (c *scene) endBusy() error {
	<-c.busyEnd
	c.busy()
	return nil
}

func (c *scene) longSelect() error {
	return c.keepBusy(fmt.Sprintf("DO (SELECT SLEEP(%.1f) FROM big.rows LIMIT 1)", busyFor.Seconds()))
}

// nolog keeps what is done to a replica's data out of its own binary log.
const nolog = "SET SESSION sql_log_bin = 0"

func (c *scene) longAlter() error {
	return c.keepBusy(nolog, "ALTER TABLE big.rows FORCE, ALGORITHM=COPY", "ALTER TABLE big.rows FORCE, ALGORITHM=COPY", "ALTER TABLE big.rows FORCE, ALGORITHM=COPY")
}

func (c *scene) bigTransaction() error {
	return c.keepBusy(nolog, "BEGIN", "UPDATE big.rows SET filling = UUID()", "DELETE FROM big.rows WHERE id % 2 = 0", "ROLLBACK")
}

func (c *scene) idleTransaction() error {
	return c.keepBusy(nolog, "BEGIN", "UPDATE big.rows SET filling = 'held' WHERE id < 100", fmt.Sprintf("DO SLEEP(%.1f)", busyFor.Seconds()), "ROLLBACK")
}

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
