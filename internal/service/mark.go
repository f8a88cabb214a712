package service

import (
	"errors"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// mark lets a stop command inherit a lock on the file Mark. The returned function drops our own share of it.
func (s Service) mark(cmd *exec.Cmd, verb string) (func(), error) {
	if s.Mark == "" || verb != "stop" {
		return func() {}, nil
	}
	f, err := os.OpenFile(s.Mark, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	cmd.ExtraFiles = []*os.File{f}
	return func() { _ = f.Close() }, nil
}

// stopping reports whether a stop command still runs, perhaps one of a run that was killed.
func (s Service) stopping() bool {
	f, err := os.Open(s.Mark)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
