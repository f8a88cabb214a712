package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// World is what a plan depends on: facts about the point's files and about the target. Looking changes nothing.
type World struct {
	Target  Target
	Config  Target
	Server  Program
	Source  Source
	Outside []Outside
	Keyring Keyring
	Account string // the name of the user who owns the files, "" if this machine has none
	Root    bool   // we are root
	UID     int
	Port    int    // free now
	Memory  uint64 // available, in bytes; 0: unknown

	trees map[string]snapshot.Tree
}

// Source is the data directory as it lies in the cut.
type Source struct {
	Real      string // the live server's data directory
	Path      string // the same inside the opened cut
	Bytes     int64  // that its files take
	Files     int
	Subvolume bool     // it is the root of a btrfs subvolume
	Cloner    bool     // the tree can clone
	Brancher  bool     // the tree can branch
	Fetcher   bool     // the tree is a repository's
	Links     []Link   // symlinks that lead out of it
	Remote    []string // .isl files: InnoDB tables whose files lie elsewhere
	UID, GID  int

	tree snapshot.Tree
	unit string // that the tree is the cut of
}

// Link is a symlink in the data directory.
type Link struct {
	Name   string // relative to the data directory
	Target string // absolute, on the live server
	Inside string // where the target lies in the opened cuts; "" if in none
}

// Outside is something of the server that lies outside its data directory.
type Outside struct {
	Purpose database.Purpose
	Real    string // on the live server
	Held    bool   // the cuts hold it
	Files   []File // that are to be brought inside
}

// File is one file or directory that comes into the new data directory under its base name.
type File struct {
	Path  string // in the opened cut
	Bytes int64
}

// Close lets go of the opened cuts.
func (w *World) Close() error {
	var all []error
	for _, t := range w.trees {
		all = append(all, t.Close())
	}
	w.trees = nil
	return errors.Join(all...)
}

// Look opens the point's cuts and looks at the target.
func Look(ctx context.Context, r Request, deps Deps) (*World, error) {
	deps = deps.withDefaults()
	r = r.defaults()
	w := &World{trees: map[string]snapshot.Tree{}, Root: os.Geteuid() == 0, UID: os.Geteuid(), Memory: available()}
	err := w.open(ctx, r.Point, deps)
	if err == nil {
		err = w.lookAtSource(r.Point)
	}
	if err == nil {
		err = w.lookAtOutside(r.Point)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot look at the point %s: %w", r.Point.ID, err), w.Close())
	}
	if u, err := user.LookupId(strconv.Itoa(w.Source.UID)); err == nil {
		w.Account = u.Username
	}
	w.lookAtKeyring(r)
	r = w.within(r)
	w.Target = lookAt(r.Datadir, w.Source)
	w.Config = lookAt(r.ConfigDir, w.Source)
	w.Server = lookAtServer(ctx, r)
	w.Port = freePort(ctx, r)
	return w, nil
}

func (w *World) open(ctx context.Context, p *catalog.Point, deps Deps) error {
	for _, ref := range p.Snapshot.Refs {
		tree, err := deps.Open(ctx, ref)
		if err != nil {
			return fmt.Errorf("cannot open the cut %s: %w", ref.Name, err)
		}
		w.trees[ref.Unit] = tree
	}
	return nil
}

// fetcher is the tree that a path lies in, if it fetches.
func (w *World) fetcher(inside string) snapshot.Fetcher {
	for _, tree := range w.trees {
		f, ok := tree.(snapshot.Fetcher)
		if _, in := mount.Below(tree.Path(), inside); ok && in {
			return f
		}
	}
	return nil
}

// locate finds a path of the live server in the cut that holds it.
func (w *World) locate(l catalog.Located) (string, snapshot.Tree) {
	tree := w.trees[l.Unit]
	if tree == nil {
		return "", nil
	}
	inside, err := tree.Locate(l.Place.Real)
	if err != nil {
		return "", nil
	}
	if _, err := os.Lstat(inside); err != nil {
		return "", nil
	}
	return inside, tree
}

func (w *World) lookAtSource(p *catalog.Point) error {
	for _, l := range p.Paths {
		if l.Purpose != database.DataDir {
			continue
		}
		inside, tree := w.locate(l)
		if inside == "" {
			return fmt.Errorf("the cut does not hold the data directory %s", l.Place.Real)
		}
		w.Source.unit = l.Unit
		return w.measure(l.Place.Real, inside, tree, p)
	}
	return errors.New("it names no data directory")
}

func (w *World) measure(real, inside string, tree snapshot.Tree, p *catalog.Point) error {
	s := &w.Source
	s.Real, s.Path, s.tree = real, inside, tree
	_, s.Cloner = tree.(snapshot.Cloner)
	_, s.Brancher = tree.(snapshot.Brancher)
	_, s.Fetcher = tree.(snapshot.Fetcher)
	info, err := os.Stat(inside + "/.")
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	s.UID, s.GID = int(st.Uid), int(st.Gid)
	s.Subvolume = st.Ino == 256 && isBtrfs(inside)
	return filepath.WalkDir(inside+"/", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return w.count(p, strings.TrimPrefix(path[len(inside):], "/"), path, d)
	})
}

func (w *World) count(p *catalog.Point, name, path string, d fs.DirEntry) error {
	s := &w.Source
	if database.Transient(name) {
		return skip(d)
	}
	if d.Type()&fs.ModeSymlink != 0 {
		return w.link(p, name, path)
	}
	if strings.HasSuffix(name, ".isl") {
		s.Remote = append(s.Remote, name)
	}
	info, err := d.Info()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	s.Files++
	s.Bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
	return nil
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// link remembers a symlink that leads out of the data directory: followed on the new place it would be the live server's file.
func (w *World) link(p *catalog.Point, name, path string) error {
	raw, err := os.Readlink(path)
	if err != nil {
		return err
	}
	target := raw
	if !filepath.IsAbs(raw) {
		target = filepath.Join(w.Source.Real, filepath.Dir(name), raw)
		if _, in := mount.Below(w.Source.Real, target); in {
			return nil // it leads to the copy's own file
		}
	}
	l := Link{Name: name, Target: filepath.Clean(target)}
	for _, tree := range w.trees {
		if inside, err := tree.Locate(l.Target); err == nil {
			if _, err := os.Stat(inside); err == nil {
				l.Inside = inside
			}
		}
	}
	w.Source.Links = append(w.Source.Links, l)
	return nil
}

// available is the memory that a new process can have without swapping.
func available() uint64 {
	content, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}
