package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/lab"
)

// Clean takes a kept demo away. A directory that is absent is clean.
func Clean(dir string) error {
	o, err := Options{Dir: dir}.filled()
	if err != nil {
		return err
	}
	if empty(o.Dir) {
		return nil
	}
	if !isDemo(o.Dir) {
		return fmt.Errorf("%s holds no demo: it is left alone", o.Dir)
	}
	return reap(o.Dir)
}

func reap(dir string) error {
	err := lab.Reap(dir)
	if errors.Is(err, lab.ErrInUse) {
		return fmt.Errorf("a demo is running in %s (look at it with: holdstill demo watch): %w", dir, err)
	}
	return err
}

// makeRoom takes an earlier, kept demo away, unless somebody is looking at it.
func (d *demo) makeRoom() error {
	if empty(d.Dir) {
		return nil
	}
	if !isDemo(d.Dir) {
		return fmt.Errorf("%s is not empty and holds no demo: choose another directory with --dir", d.Dir)
	}
	if who := visitors(d.Dir); len(who) > 0 {
		return fmt.Errorf("the demo kept in %s is in use by %s: end that, or type: holdstill demo clean%s", d.Dir, strings.Join(who, ", "), d.dirFlag())
	}
	d.line("Cleaning up the demo that was kept in " + d.Dir + " ...")
	return reap(d.Dir)
}

func (d *demo) dirFlag() string {
	if d.Dir == DefaultDir {
		return ""
	}
	return " --dir " + d.Dir
}

func empty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0
}

// isDemo tells by the reaper's list, which a lab makes first of all.
func isDemo(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "reaper.list"))
	return err == nil
}

// visit tells others, as long as the process lives or until leave is called, that the demo is looked at.
func visit(dir string) (leave func(), err error) {
	if _, err := os.Stat(filepath.Join(dir, "on")); err != nil {
		return nil, fmt.Errorf("no demo runs in %s: start one with: holdstill demo --keep", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, "visitors"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("the demo in %s is being cleaned up: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// visitors are those who use a kept demo: a writer or watcher, and whatever runs on its nodes beside its servers.
func visitors(dir string) []string {
	var who []string
	if f, err := os.OpenFile(filepath.Join(dir, "visitors"), os.O_RDWR, 0); err == nil {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
			who = append(who, "holdstill demo write or watch")
		}
		_ = f.Close()
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		for _, name := range []string{nodeA, nodeB, nodeC} {
			if sameFile(filepath.Join(p, "ns/net"), "/run/netns/"+name) && !isServer(p, dir) {
				comm, _ := os.ReadFile(filepath.Join(p, "comm"))
				who = append(who, fmt.Sprintf("%s (process %s on %s)", strings.TrimSpace(string(comm)), filepath.Base(p), name))
			}
		}
	}
	return who
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func isServer(proc, dir string) bool {
	arguments, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	return err == nil && strings.Contains(string(arguments), "mariadbd\x00--defaults-file="+dir+"/")
}

// lookAround says how to use a demo that was kept.
func (d *demo) lookAround() {
	on, program := filepath.Join(d.Dir, "on"), d.program()
	d.line(d.heading.Sprint("The nodes go on running. Look around:"))
	for _, l := range align([][]string{
		{"   " + program + " demo write" + d.dirFlag(), "the writer, until ctrl-C"},
		{"   " + program + " demo watch" + d.dirFlag(), "the newest rows and the lag, until ctrl-C"},
		{"   " + on + " node-a mariadb sampledb", "a client on node-a; so on node-b and node-c"},
		{"   " + on + " node-b holdstill points list", "the restore points"},
		{"   " + on + " node-b holdstill doctor node-b", "what a backup would do, and why"},
		{"   " + on + " node-a", "a shell on node-a"},
		{"   " + program + " demo clean" + d.dirFlag(), "everything gone"},
	}) {
		d.line(l)
	}
}

// program is what a person types to call this holdstill.
func (d *demo) program() string {
	if found, err := exec.LookPath("holdstill"); err == nil && sameFile(found, d.Binary) {
		return "holdstill"
	}
	return d.Binary
}
