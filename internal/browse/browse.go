// Package browse shows a stored point as a read-only file system (FUSE), and an opened local cut at a directory.
//
// What is shown never changes, so the kernel may keep everything that it has seen: names, attributes and pages. What it asks for
// comes from blocks in memory, which are read from the store once, in parallel, and ahead of a reader that reads in order.
//
// A process may use its own view as other processes do, with two exceptions that the Go runtime sets: it must not map a file of it
// into memory (a page fault stops the scheduler, which would have to serve it), and it must not start a child in a directory of it.
package browse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/repository"
)

// ErrBusy means that somebody still uses what was to be taken away.
var ErrBusy = errors.New("in use")

// closeWait is how long Close waits for the last user of a private view.
const closeWait = 5 * time.Second

// View is a file system over a stored point, served by this process.
type View struct {
	path    string
	dir     string // where it is attached; "" for a private one
	mounted *mount.Tree
	files   *files
	served  chan struct{}
	end     sync.Once
}

// Private shows a tree at a place that only this process has, and others while it lives, through Path. It is gone with Close, or with
// the process. The tree must stay open as long.
func Private(ctx context.Context, tree repository.Tree, log *slog.Logger) (*View, error) {
	v, err := serve(ctx, tree, log)
	if err != nil {
		return nil, fmt.Errorf("cannot show the stored files: %w", err)
	}
	return v, nil
}

// Attach shows a tree at a directory, until that is unmounted, by Close or by anybody; see Wait. If the process dies it stays there as a
// dead mount, which Umount takes away.
func Attach(ctx context.Context, tree repository.Tree, dir string, log *slog.Logger) (*View, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	v, err := serve(ctx, tree, log)
	if err != nil {
		return nil, fmt.Errorf("cannot show the stored files at %s: %w", dir, err)
	}
	if err := mount.Attach(v.path, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot attach the stored files to %s: %w", dir, err), v.Close())
	}
	v.path, v.dir = dir, dir
	return v, v.mounted.Close() // else the view would look used for ever
}

// Path is the root directory of the view.
func (v *View) Path() string { return v.path }

// Wait returns when the view was unmounted and nobody uses it any more.
func (v *View) Wait() { <-v.served }

// Close takes the view away. It fails with ErrBusy, and the view goes on, while somebody uses it; closing twice is no error.
func (v *View) Close() error {
	if v == nil {
		return nil
	}
	if v.dir != "" {
		return v.detach()
	}
	v.end.Do(func() { _ = v.mounted.Close() }) // it fails only if it is closed already
	select {
	case <-v.served:
		return nil
	case <-time.After(closeWait):
		return fmt.Errorf("the stored files at %s are still open: %w", v.path, ErrBusy)
	}
}

func (v *View) detach() error {
	select {
	case <-v.served:
		return nil
	default:
	}
	if err := unix.Unmount(v.dir, unix.UMOUNT_NOFOLLOW); errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("cannot unmount %s: %w", v.dir, ErrBusy)
	} else if err != nil {
		return fmt.Errorf("cannot unmount %s: %w", v.dir, err)
	}
	v.Wait()
	return nil
}

// serve mounts privately and answers the kernel.
func serve(ctx context.Context, tree repository.Tree, log *slog.Logger) (*View, error) {
	root, err := tree.Root(ctx)
	if err != nil {
		return nil, err
	}
	device, err := openDevice()
	if err != nil {
		return nil, err
	}
	mounted, err := mount.Private(ctx, source, "fuse", options(device)...)
	if err != nil {
		return nil, errors.Join(err, unix.Close(device))
	}
	v := &View{path: mounted.Path(), mounted: mounted, served: make(chan struct{})}
	v.files = newFiles(context.WithoutCancel(ctx), tree, root, log)
	server, err := fuse.NewServer(v.files, fmt.Sprintf("/dev/fd/%d", device), serverOptions(log))
	if err != nil { // the device belongs to the server by now
		return nil, errors.Join(fmt.Errorf("the kernel and this program cannot agree on FUSE: %w", err), mounted.Close())
	}
	go func() {
		server.Serve()
		v.files.close()
		close(v.served)
	}()
	if err := v.tune(); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// tune makes the first requests.
func (v *View) tune() error {
	if err := refusePoll(v.path); err != nil {
		return fmt.Errorf("the file system does not answer: %w", err)
	}
	readAhead(v.path)
	return nil
}

// refusePoll makes the kernel ask once whether files can be polled, which go-fuse denies under this name: a file that this process
// opened would else be polled from within its scheduler, which could then not answer.
func refusePoll(root string) error {
	fd, err := unix.Open(root+"/.go-fuse-epoll-hack", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) // to have asked is all
	return nil
}

// readAhead lets the kernel read further ahead than the 128 KiB that it gives a new file system. Where it cannot be set, reading in
// order is slower and nothing else.
func readAhead(root string) {
	var st unix.Stat_t
	if unix.Stat(root+"/.", &st) != nil {
		return
	}
	name := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	_ = os.WriteFile(name, fmt.Appendln(nil, maxRead>>10), 0)
}
