package browse

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/durable"
)

// Note is what is written down of a mount before it is made, so that what a dead process left can be found: STATE/mounts/NAME.json. Its
// maker locks the file until the mount is complete, and a process that serves it for ever; the kernel drops the lock with the process.
type Note struct {
	Dir      string    `json:"dir"`
	Point    string    `json:"point"`
	Instance string    `json:"instance"`
	From     string    `json:"from"`
	Made     bool      `json:"made"` // the directory is ours, and goes with the mount
	PID      int       `json:"pid"`
	At       time.Time `json:"at"`
	Pieces   []string  `json:"pieces,omitempty"` // what is attached below

	file string
	held *os.File
}

// NameOf is the name of a mount's files in STATE/mounts.
func NameOf(dir string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(dir))
	return fmt.Sprintf("%s-%08x", filepath.Base(dir), h.Sum32())
}

// Write enters a note, which is locked. ErrBusy: somebody mounts there at this moment.
func (n *Note) Write(notes string) error {
	if err := durable.MakeDir(notes); err != nil {
		return fmt.Errorf("cannot note the mount at %s: %w", n.Dir, err)
	}
	n.PID, n.At = os.Getpid(), time.Now().UTC()
	n.file = filepath.Join(notes, NameOf(n.Dir)+".json")
	content, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%d", n.file, n.PID)
	n.held, err = os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("cannot note the mount at %s: %w", n.Dir, err)
	}
	defer os.Remove(temporary)
	_, err = n.held.Write(append(content, '\n'))
	if err = errors.Join(err, n.held.Sync(), unix.Flock(int(n.held.Fd()), unix.LOCK_EX|unix.LOCK_NB)); err == nil {
		err = os.Link(temporary, n.file)
	}
	if err == nil {
		return durable.SyncDir(notes)
	}
	_ = n.held.Close()
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("another run mounts at %s: %w", n.Dir, ErrBusy)
	}
	return fmt.Errorf("cannot note the mount at %s: %w", n.Dir, err)
}

// Settle says that the mount is complete and lives without this process.
func (n *Note) Settle() error { return n.held.Close() }

// Alive tells whether the process that makes or serves the mount lives.
func (n *Note) Alive() bool {
	f, err := os.Open(n.file)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Forget removes the directory, if it was made for the mount, and the note. It may be called twice, by two processes.
func (n *Note) Forget() error {
	if n.Made {
		if err := os.Remove(n.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("cannot remove the directory that was made for the mount: %w", err)
		}
	}
	if err := os.Remove(n.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot forget the mount at %s: %w", n.Dir, err)
	}
	if n.held != nil {
		_ = n.held.Close()
	}
	return nil
}

// Notes lists what is noted. What cannot be read is told beside the others.
func Notes(notes string) ([]*Note, error) {
	names, err := filepath.Glob(filepath.Join(notes, "*.json"))
	if err != nil {
		return nil, err
	}
	var out []*Note
	var faults []error
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		n := &Note{file: name}
		if err == nil {
			err = json.Unmarshal(raw, n)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("cannot read the note of a mount in %s: %w", name, err))
			continue
		}
		out = append(out, n)
	}
	return out, errors.Join(faults...)
}

// NoteOf finds the note of a mount; nil: there is none.
func NoteOf(notes, dir string) (*Note, error) {
	all, err := Notes(notes)
	for _, n := range all {
		if n.Dir == dir {
			return n, nil
		}
	}
	return nil, err
}

// Sweep takes away what dead processes left: mounts without a server, half made ones, notes of mounts that are gone. It returns the notes.
func Sweep(notes string, log *slog.Logger) ([]*Note, error) {
	all, err := Notes(notes)
	faults := []error{err}
	var out []*Note
	for _, n := range all {
		if n.Alive() {
			continue
		}
		swept, err := n.sweep(log)
		if err != nil {
			faults = append(faults, fmt.Errorf("cannot take away the mount at %s: %w", n.Dir, err))
		} else if swept {
			out = append(out, n)
		}
	}
	return out, errors.Join(faults...)
}

func (n *Note) sweep(log *slog.Logger) (bool, error) {
	m, err := At(n.Dir)
	if err != nil {
		return false, err
	}
	if m != nil && !m.Stored && m.Complete {
		return false, nil // it needs no process
	}
	if m != nil && m.Stored && !m.Dead() {
		return false, nil // the note's lock is gone, but somebody serves
	}
	if m != nil {
		log.Warn("Left behind: the mount at "+n.Dir, "point", n.Point)
		if err := Detach(m); err != nil {
			return false, err
		}
	}
	return true, n.Forget()
}
