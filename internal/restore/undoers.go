package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/undo"
)

// The kinds of our deeds.
const (
	kindPlace   = "restore.place"
	kindConfig  = "restore.config"
	kindServer  = "restore.server"
	kindAside   = "restore.aside"
	kindService = "restore.service"
	kindScratch = "restore.scratch"
	kindAgain   = "restore.again"
)

// Undoers are how a later process takes our deeds back.
func Undoers() undo.Registry {
	return undo.Registry{
		kindPlace:   with(removePlaced),
		kindConfig:  with(removeConfig),
		kindServer:  with(killServer),
		kindAside:   with(bringBack),
		kindService: with(stopServer),
		kindScratch: with(removeScratch),
		kindAgain:   with(endAgain),
	}
}

func with[A any](undoer func(context.Context, A) error) undo.Undoer {
	return func(ctx context.Context, d undo.Deed) error {
		var args A
		if err := json.Unmarshal(d.Args, &args); err != nil {
			return fmt.Errorf("cannot read the arguments of %s: %w", d.Kind, err)
		}
		return undoer(ctx, args)
	}
}

func deedOf(kind, stage, title, manual string, args any) undo.Deed {
	return undo.NewDeed(kind, stage, title, manual, args)
}

// A mark is an empty file that says which run made a directory. It is how an undo knows that the files are ours to remove.
const (
	markPrefix = ".holdstill-run-"
	runComment = "run "
)

func markIn(dir, run string) string { return filepath.Join(dir, markPrefix+run) }

func mark(dir, run string) error {
	f, err := os.OpenFile(markIn(dir, run), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), durable.SyncDir(dir))
}

// claim marks a directory that must be empty. Two runs that do so at one time both see the other's mark, and neither goes on.
func claim(dir, run string) error {
	if err := mark(dir, run); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if name := e.Name(); name != markPrefix+run && name != "lost+found" {
			return errors.Join(fmt.Errorf("%s is not empty any more: it holds %s", dir, name), os.Remove(markIn(dir, run)))
		}
	}
	return err
}

func marked(dir, run string) bool {
	_, err := os.Lstat(markIn(dir, run))
	return err == nil
}

type placeArgs struct {
	Datadir string      `json:"datadir"`
	Staging string      `json:"staging,omitempty"` // its name holds the run; "" if the files are made in the data directory itself
	Existed bool        `json:"existed"`           // an empty data directory was there
	Mode    fs.FileMode `json:"mode,omitempty"`    // its mode and owner
	UID     int         `json:"uid"`
	GID     int         `json:"gid"`
	Made    []string    `json:"made,omitempty"` // directories above that were missing, deepest first
	Run     string      `json:"run"`
}

func removePlaced(_ context.Context, a placeArgs) error {
	var all []error
	if a.Staging != "" {
		all = append(all, os.RemoveAll(a.Staging))
	}
	if marked(a.Datadir, a.Run) {
		// After a power cut in a restore in place the service may have started at boot, on whatever was there.
		if pids := serversOn(a.Datadir); len(pids) > 0 {
			return errors.Join(append(all, fmt.Errorf("a server (process %d) runs on the unfinished copy in %s, which cannot be removed under it: stop the server", pids[0], a.Datadir))...)
		}
		all = append(all, emptied(a.Datadir, a.Run))
		if !a.Existed {
			all = append(all, ignoreGone(os.Remove(a.Datadir)))
		}
	}
	if a.Existed {
		all = append(all, restoreEmpty(a))
	}
	for _, dir := range a.Made {
		_ = os.Remove(dir) // only if it is empty: somebody else may use it by now
	}
	return errors.Join(all...)
}

// restoreEmpty makes the empty directory that was there.
func restoreEmpty(a placeArgs) error {
	if a.Staging == "" {
		return nil
	}
	if err := os.Mkdir(a.Datadir, a.Mode.Perm()); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if firstEntry(a.Datadir) != "" {
		return nil // not ours, or not empty any more
	}
	return errors.Join(chown(a.Datadir, a.UID, a.GID), os.Chmod(a.Datadir, a.Mode))
}

// emptied removes what is in dir, the mark last: an undo that is killed half way must still know the rest as ours.
func emptied(dir, run string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == markPrefix+run || e.Name() == "lost+found" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return ignoreGone(os.Remove(markIn(dir, run)))
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

type configArgs struct {
	Dir     string `json:"dir"`
	Existed bool   `json:"existed"`
	Run     string `json:"run"`
}

func removeConfig(_ context.Context, a configArgs) error {
	var all []error
	file := filepath.Join(a.Dir, optionFileName)
	if content, err := os.ReadFile(file); err == nil && bytes.Contains(content, []byte(runComment+a.Run)) {
		all = append(all, removeState(a.Dir), os.Remove(file)) // what tells that all is ours goes last
	}
	for _, name := range []string{"tmp", keyringDir} {
		if dir := filepath.Join(a.Dir, name); marked(dir, a.Run) {
			all = append(all, emptied(dir, a.Run), ignoreGone(os.Remove(dir)))
		}
	}
	if !a.Existed {
		_ = os.Remove(filepath.Join(a.Dir, "tmp")) // killed between mkdir and mark: it is empty then
		_ = os.Remove(filepath.Join(a.Dir, keyringDir))
		_ = os.Remove(a.Dir) // only if it is empty
	}
	return errors.Join(all...)
}

// removeState removes the note of where the copy stands, and one that was being written.
func removeState(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, "."+StateName+"*"))
	all := []error{err}
	for _, path := range append(found, filepath.Join(dir, StateName)) {
		all = append(all, ignoreGone(os.Remove(path)))
	}
	return errors.Join(all...)
}

type asideArgs struct {
	Datadir string `json:"datadir"`
	Aside   string `json:"aside"`
}

// bringBack puts the old data back, after the new ones were removed.
func bringBack(_ context.Context, a asideArgs) error {
	if _, err := os.Lstat(a.Aside); errors.Is(err, fs.ErrNotExist) {
		return nil // it never went, or is back
	}
	if err := os.Remove(a.Datadir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the old data are in %s, but something is in their place: %w", a.Aside, err)
	}
	return errors.Join(os.Rename(a.Aside, a.Datadir), durable.SyncDir(filepath.Dir(a.Datadir)))
}

func chown(path string, uid, gid int) error {
	if os.Geteuid() != 0 {
		return nil // refused before, unless all is our own
	}
	return os.Lchown(path, uid, gid)
}
