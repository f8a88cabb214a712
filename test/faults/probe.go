package main

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// probe writes to a volume all the time, from a thread of its own. While the volume is frozen its write blocks: that is how an
// outsider sees a freeze and its length. The file's blocks are there from the start, so that a full disk does not matter.
type probe struct {
	dir  *os.File // to thaw by, when all else failed
	file *os.File

	mu    sync.Mutex
	since time.Time // the write under way began; zero between writes
	worst time.Duration
	whole time.Time // the last write that went through began then
	quit  chan struct{}
	done  chan struct{}
}

const probeEvery = 3 * time.Millisecond

func watchVolume(dir string) (*probe, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, ".probe"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	p := &probe{dir: d, file: f, quit: make(chan struct{}), done: make(chan struct{})}
	go p.watch()
	return p, nil
}

func (p *probe) watch() {
	defer close(p.done)
	for {
		select {
		case <-p.quit:
			return
		case <-time.After(probeEvery):
		}
		p.mu.Lock()
		p.since = time.Now()
		p.mu.Unlock()
		_, _ = p.file.WriteAt([]byte("x"), 0)
		p.mu.Lock()
		p.worst = max(p.worst, time.Since(p.since))
		p.whole, p.since = p.since, time.Time{}
		p.mu.Unlock()
	}
}

// longest is the longest write since it was asked last.
func (p *probe) longest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	worst := p.worst
	p.worst = 0
	return worst
}

// flows waits until a write goes through that begins now or later.
func (p *probe) flows(limit time.Duration) bool {
	now := time.Now()
	return within(limit, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.whole.Before(now) {
			return errors.New("it waits")
		}
		return nil
	}) == nil
}

// The ioctls FIFREEZE and FITHAW of include/uapi/linux/fs.h.
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

func (p *probe) freeze() error { return p.ioctl(fiFreeze) }
func (p *probe) thaw() error   { return p.ioctl(fiThaw) }

func (p *probe) ioctl(request uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, p.dir.Fd(), request, 0); errno != 0 {
		return errno
	}
	return nil
}

// stop ends the probe; a write that is blocked is freed first, by a thaw.
func (p *probe) stop() {
	close(p.quit)
	select {
	case <-p.done:
	case <-time.After(2 * time.Second):
		_ = p.thaw()
		<-p.done
	}
	_ = p.file.Close()
	_ = p.dir.Close()
}
