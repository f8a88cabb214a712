// Package hookfiles lays the files of a host on the machine, and takes them away again. What was there before is kept, with its mode
// and its owner, and comes back on uninstall, byte for byte.
//
// # What is kept
//
// STATE/hooks/HOST/manifest.json lists every file and directory that an install touches: what was there before it, and the checksums of
// all that was ever written there. It is written and synced before the first change, as are the originals, which lie beside it under
// their checksums. So at any moment each file is either as it was, or ours, or changed by somebody else since, and a process that was
// killed anywhere leaves what the next install or uninstall completes. What somebody else has changed is never overwritten.
package hookfiles

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/lock"
)

// Program is the holdstill that hosts are to call.
type Program struct {
	Binary string // its absolute path
	Config string // that of its configuration; "" for the default
}

// Installer works on one machine.
type Installer struct {
	root     string // what stands for / : tests have a directory
	state    string // STATE/hooks
	uid, gid int    // who owns what is written: root
	// step is told every boundary between two changes; tests die there.
	step func(what string)
}

// New returns an installer that takes root for the root of the machine ("/" but in tests), and keeps what it has to in STATE/hooks.
func New(root, state string) *Installer {
	return &Installer{root: root, state: filepath.Join(state, "hooks"), step: func(string) {}}
}

// Change is one thing that an install or an uninstall does, or would do.
type Change struct {
	Action   string `json:"action"` // create, replace, update, repair, restore, remove, make, keep, none
	Path     string `json:"path"`
	Owner    string `json:"owner"`
	Mode     string `json:"mode"`
	Why      string `json:"why"`
	Content  string `json:"content,omitempty"`
	Register string `json:"register,omitempty"` // what a person has to do beside it
}

// The actions.
const (
	Create  = "create"
	Replace = "replace" // the original is kept
	Update  = "update"  // ours, of another version
	Repair  = "repair"  // only mode or owner
	Restore = "restore" // the original comes back
	Remove  = "remove"
	Make    = "make" // a directory
	Keep    = "keep" // changed by somebody else since: left as it is
	None    = "none" // it is as it should be
)

// ChangedError tells the files that somebody else has changed since they were written.
type ChangedError struct {
	Host  string
	Paths []string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("cannot install the files of %s: changed by somebody else since: %v", e.Host, e.Paths)
}

// Hint tells what to do about it.
func (e *ChangedError) Hint() string {
	return fmt.Sprintf("type: holdstill hook uninstall %s, which keeps them as they are, and then: holdstill hook install %s, which merges with them", e.Host, e.Host)
}

// Installed reports whether files of a host are, or may be, on the machine.
func (i *Installer) Installed(host string) (bool, error) {
	m, err := i.load(host)
	return m != nil, err
}

// exclusively runs do while no other installer works.
func (i *Installer) exclusively(do func() error) error {
	if err := durable.MakeDir(i.state); err != nil {
		return fmt.Errorf("cannot keep what was there: %w", err)
	}
	dir, err := os.Open(i.state)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("another install or uninstall is under way: %w", lock.ErrBusy)
	} else if err != nil {
		return err
	}
	return do()
}

// at is the real path of a path on the machine.
func (i *Installer) at(path string) string { return filepath.Join(i.root, path) }

// site is the machine as a personality sees it: as it was before anything was installed, where originals says so.
func (i *Installer) site(program Program, m *manifest) hook.Site {
	return hook.Site{
		Binary: program.Binary, Config: program.Config,
		Read: func(path string) ([]byte, error) {
			if f := m.file(path); f != nil {
				return i.original(m.Host, f)
			}
			return os.ReadFile(i.at(path))
		},
		Stat: func(path string) (os.FileInfo, error) {
			if f := m.file(path); f != nil && f.Original.Kind == isLink {
				return os.Stat(i.at(f.target()))
			} else if f != nil {
				return f.Original.info(path)
			}
			return os.Stat(i.at(path))
		},
	}
}
