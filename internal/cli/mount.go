package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/browse"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/wire"
)

// mountFlags are those of mount.
type mountFlags struct {
	instance   string
	from       string
	disks      []string
	foreground bool
}

func (a *app) mount() *cobra.Command {
	f := &mountFlags{}
	cmd := &cobra.Command{
		Use:   "mount POINT DIR",
		Short: "Show the files of a restore point at a directory, read-only",
		Long: `Mount shows the files of a point below DIR, under the paths that they had on the live server: DIR/var/lib/mysql/... The local
cut is shown where there is one, else what the repository holds (--from chooses). DIR must be empty, or is made, and is removed again by
umount then. It returns when the files can be read. A point of the repository is served by a process of its own, which
ends with holdstill umount DIR; its log is in STATE/mounts.

Nothing can be written. A server needs a writable layer over it: see docs/mount.md for a throw-away server on an overlay.`,
		Example: `  holdstill mount latest /mnt/point
  holdstill mount 20261122-130000 /mnt/point --from repository
  holdstill umount /mnt/point`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runMount(cmd.Context(), f, args[0], args[1]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.instance, "instance", "", "of which instance, where POINT is latest")
	flags.StringVar(&f.from, "from", "", "local or repository (default: local if the cut is there)")
	flags.StringArrayVar(&f.disks, "disk", nil, "[MOUNTPOINT=]WHERE: of a point whose snapshot a host took, the disk, image or mounted directory where it is attached now")
	flags.BoolVar(&f.foreground, "foreground", false, "serve a point of the repository from this process, until it is unmounted or interrupted")
	return cmd
}

// mounted is what the command tells.
type mounted struct {
	Point    string   `json:"point"`
	Instance string   `json:"instance"`
	Dir      string   `json:"dir"`
	From     from     `json:"from"`
	PID      int      `json:"pid,omitempty"`
	Log      string   `json:"log,omitempty"`
	Inside   []inside `json:"inside"`
	Umount   string   `json:"umount"`
}

// inside is one of the places that a point holds.
type inside struct {
	What string `json:"what"`
	Path string `json:"path"`
}

func (a *app) mounts() string { return filepath.Join(a.dirs.State, "mounts") }

func (a *app) runMount(ctx context.Context, f *mountFlags, name, at string) error {
	if err := from(f.from).check(); err != nil {
		return err
	}
	dir, err := browse.Resolve(at)
	if err != nil {
		return err
	}
	if _, err := browse.Sweep(a.mounts(), a.log); err != nil {
		a.log.Warn(err.Error())
	}
	s := &stock{app: a}
	defer s.close()
	p, err := a.find(ctx, s, name, f.instance)
	if err != nil {
		return err
	}
	if p.Status == catalog.Expired {
		return fmt.Errorf("point %s is being removed: %w", p.ID, catalog.ErrNotFound)
	}
	where, err := a.disksOf(p, f)
	if err != nil {
		return err
	}
	if p, err = a.source(ctx, p, from(f.from), wire.OpenAt(where)); err != nil {
		return err
	}
	if p.Snapshot.Provider == wire.StoredProvider {
		s.close() // it is opened again by the process that serves
		return a.mountStored(ctx, f, p.ID, dir)
	}
	return a.mountCut(ctx, f, p, where, dir)
}

// disksOf reads --disk; without it, what a host has cut comes from the repository if that holds it.
func (a *app) disksOf(p *catalog.Point, f *mountFlags) (map[string]string, error) {
	if len(f.disks) == 0 && p.Repository != nil && wire.ByHost(p) {
		f.from = string(fromRepository)
	}
	if f.from == string(fromRepository) && len(f.disks) == 0 {
		return nil, nil
	}
	return attached(p, f.disks)
}

// mountCut shows the local cut. Nothing has to serve it.
func (a *app) mountCut(ctx context.Context, f *mountFlags, p *catalog.Point, where map[string]string, dir string) error {
	if f.foreground {
		return usagef("--foreground is for a point of the repository: nothing serves a local cut")
	}
	cuts, err := browse.Open(ctx, p, wire.OpenAt(where))
	if err != nil {
		return err
	}
	defer cuts.Close()
	pieces, err := cuts.Pieces(p)
	if err != nil {
		return err
	}
	note := &browse.Note{Dir: dir, Point: p.ID, Instance: p.Instance, From: string(fromLocal)}
	for _, piece := range pieces {
		note.Pieces = append(note.Pieces, piece.Real)
	}
	if err := a.promiseMount(note); err != nil {
		return err
	}
	if err := cuts.Attach(ctx, p, pieces, dir); err != nil {
		return errors.Join(err, note.Forget())
	}
	if err := note.Settle(); err != nil {
		return err
	}
	return a.printMounted(p, mounted{Dir: dir, From: fromLocal})
}

// promiseMount makes sure of the directory and notes the mount before it is made.
func (a *app) promiseMount(note *browse.Note) (err error) {
	if note.Made, err = browse.Prepare(note.Dir); err != nil {
		return mountFault(err)
	}
	if err := note.Write(a.mounts()); err != nil {
		if note.Made {
			err = errors.Join(err, os.Remove(note.Dir))
		}
		return mountFault(err)
	}
	return nil
}

// mountFault gives the faults of mounts their exit codes.
func mountFault(err error) error {
	switch {
	case errors.Is(err, browse.ErrRefused):
		return usageError{err}
	case errors.Is(err, browse.ErrBusy):
		return relayed{err.Error(), "", lock.ErrBusy}
	}
	return err
}

// relayed is an error with the exit code of another.
type relayed struct {
	message, hint string
	kind          error
}

func (r relayed) Error() string { return r.message }

// Unwrap is what the exit code follows from.
func (r relayed) Unwrap() error { return r.kind }

// Hint is what a person can do.
func (r relayed) Hint() string { return r.hint }

// printMounted says what is where.
func (a *app) printMounted(p *catalog.Point, m mounted) error {
	m.Point, m.Instance, m.Umount = p.ID, p.Instance, "holdstill umount "+shellQuoted(m.Dir)
	m.Inside = []inside{}
	for _, i := range insideOf(p) {
		i.Path = filepath.Join(m.Dir, i.Path)
		if _, err := os.Lstat(i.Path); err == nil {
			m.Inside = append(m.Inside, i)
		}
	}
	if a.json {
		return a.printJSON(m)
	}
	heading(a.stdout, "Mounted point "+m.Point)
	t := newTable(a.stdout)
	t.row("at", m.Dir+" (read-only)")
	from := "the local cut"
	if m.From == fromRepository {
		from = fmt.Sprintf("the repository, served by process %d", m.PID)
	}
	t.row("from", from)
	if m.Log != "" {
		t.row("log", m.Log)
	}
	for _, i := range m.Inside {
		t.row(i.What, printable(i.Path))
	}
	t.row("umount", m.Umount)
	t.flush()
	return nil
}

// insideOf lists what a point holds: the server's directories and files, and its option files.
func insideOf(p *catalog.Point) []inside {
	var out []inside
	seen := map[string]bool{}
	add := func(what, path string) {
		if !seen[path] {
			seen[path] = true
			out = append(out, inside{what, path})
		}
	}
	for _, l := range p.Paths {
		add(string(l.Purpose), l.Place.Real)
	}
	for _, f := range p.Process.OptionFiles {
		add("option file", f.Path)
	}
	return out
}

// pointAt reads the point's entry from a mount.
func pointAt(dir string) (*catalog.Point, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "holdstill-point.json"))
	if err != nil {
		return nil, fmt.Errorf("the mount does not answer: %w", err)
	}
	p := &catalog.Point{}
	return p, json.Unmarshal(raw, p)
}

// shellQuoted makes one word of a path for a person's shell.
func shellQuoted(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,@%+=-", r)
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
