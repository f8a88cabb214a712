package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// The parts of a scratch directory; those of further trees have a number behind the name.
const (
	scratchFiles = "files" // what a tree holds, writable
	scratchLower = "lower" // the same as it is, below a layer
	scratchUpper = "upper" // the layer
	scratchWork  = "work"  // the kernel's
)

// linkedFrom is the size, in bytes, from which on a file that lay outside of the data directory is brought in by a symlink, so that a scratch server
// costs nothing for any size of its logs. Smaller ones are copied: among them are those that are rewritten.
const linkedFrom = 1 << 20

// within tells where the data directory of a scratch server is: where it lies in its unit.
func (w *World) within(r Request) Request {
	if r.Scratch == "" || w.Source.tree == nil {
		return r
	}
	r.Datadir = filepath.Join(r.Scratch, scratchFiles, below(w.Source.tree, w.Source.Path))
	return r
}

func below(tree snapshot.Tree, path string) string {
	rel, _ := mount.Below(filepath.Clean(tree.Path()), filepath.Clean(path))
	return rel
}

// layered is a tree and where its writable copy is attached.
type layered struct {
	tree snapshot.Tree
	at   string
}

// layer makes writable copies of the point's trees, attaches them, and puts the data directory in order.
func (j *Job) layer(ctx context.Context) error {
	dir := j.Plan.Request.Scratch
	j.deps.Stage("place", "making a writable copy of the point at %s (%s)", dir, j.Plan.How)
	layers := j.Plan.world.layers(dir)
	copies := make([]snapshot.Tree, len(layers))
	for i, l := range layers {
		copies[i] = l.tree
		brancher, ok := l.tree.(snapshot.Brancher)
		if !ok {
			continue
		}
		branch, receipt, err := undo.Do(ctx, j.Run, brancher.Branch(j.Run.ID))
		if receipt != nil {
			j.receipts = append(j.receipts, receipt)
		}
		if err != nil {
			return err
		}
		defer func() { _ = branch.Close() }() // it stays, attached
		copies[i] = branch
	}
	manual := fmt.Sprintf("umount -l %[1]s/files* %[1]s/lower*; rm -r --one-file-system %[1]s", shellQuoted(dir))
	return act(ctx, j, deedOf(kindScratch, "place", "make the scratch directory "+dir, manual, scratchArgs{Dir: dir, Socket: j.Plan.Socket, Run: j.Run.ID}), func(ctx context.Context) error {
		if err := os.Mkdir(dir, 0o711); err != nil {
			return fmt.Errorf("cannot make the scratch directory: %w", err)
		}
		if err := mark(dir, j.Run.ID); err != nil {
			return fmt.Errorf("cannot mark the scratch directory: %w", err)
		}
		for i, l := range layers {
			if err := attach(copies[i], l.at); err != nil {
				return err
			}
		}
		data := j.Plan.Request.Datadir
		if err := errors.Join(dropLeft(data), j.link(ctx, layers, data), j.fix(data)); err != nil {
			return fmt.Errorf("cannot make the copy forget its original: %w", err)
		}
		return nil
	})
}

// layers are the point's trees, each once, that of the data directory first.
func (w *World) layers(dir string) []layered {
	out := []layered{{w.Source.tree, filepath.Join(dir, scratchFiles)}}
	for _, tree := range w.trees {
		known := false
		for _, l := range out {
			known = known || l.tree == tree
		}
		if !known {
			out = append(out, layered{tree, filepath.Join(dir, fmt.Sprintf("%s.%d", scratchFiles, len(out)))})
		}
	}
	return out
}

// attach puts a tree that can be written to at a directory, else one with a writable layer over it.
func attach(tree snapshot.Tree, at string) error {
	if err := os.Mkdir(at, 0o711); err != nil {
		return fmt.Errorf("cannot make the scratch directory: %w", err)
	}
	if _, branched := tree.(snapshot.Brancher); branched {
		return mount.Attach(tree.Path(), at)
	}
	dir, name := filepath.Split(at)
	part := func(of string) string { return filepath.Join(dir, of+strings.TrimPrefix(name, scratchFiles)) }
	lower, upper, work := part(scratchLower), part(scratchUpper), part(scratchWork)
	for _, d := range []string{lower, upper, work} {
		if err := os.Mkdir(d, 0o711); err != nil {
			return fmt.Errorf("cannot make the scratch directory: %w", err)
		}
	}
	if err := attributes(tree.Path()+"/.", upper); err != nil { // the layer's root is what is seen
		return err
	}
	if !private(tree.Path()) {
		return mount.Overlay(tree.Path(), upper, work, at)
	}
	if err := mount.Attach(tree.Path(), lower); err != nil {
		return err
	}
	return mount.Overlay(lower, upper, work, at)
}

// private tells a tree that is attached nowhere from a directory.
func private(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// link brings inside what lay outside of the data directory.
func (j *Job) link(ctx context.Context, layers []layered, data string) error {
	c := newCopier(j)
	for _, l := range j.Plan.Links {
		if err := errors.Join(ignoreGone(os.Remove(filepath.Join(data, l.Name))), bringOne(ctx, c, layers, l.Inside, filepath.Join(data, l.Name))); err != nil {
			return err
		}
	}
	for _, f := range j.Plan.Bring {
		if err := bringOne(ctx, c, layers, f.Path, filepath.Join(data, filepath.Base(f.Path))); err != nil {
			return err
		}
	}
	return nil
}

func bringOne(ctx context.Context, c *copier, layers []layered, inside, to string) error {
	info, err := os.Stat(inside)
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && info.Size() < linkedFrom {
		return c.any(ctx, inside, to)
	}
	for _, l := range layers {
		if rel, in := mount.Below(filepath.Clean(l.tree.Path()), filepath.Clean(inside)); in {
			return os.Symlink(filepath.Join(l.at, rel), to)
		}
	}
	return fmt.Errorf("%s lies in none of the point's trees", inside)
}

type scratchArgs struct {
	Dir    string `json:"dir"`
	Run    string `json:"run"`
	Socket string `json:"socket,omitempty"` // which may lie elsewhere, where the directory's name is long
}

// removeScratch unmounts first: what is removed then is only ours. What bears no mark of the run is not, or is empty. The mark goes last.
func removeScratch(_ context.Context, a scratchArgs) error {
	if err := ignoreGone(os.Remove(a.Socket)); a.Socket != "" && err != nil {
		return err
	}
	if !marked(a.Dir, a.Run) {
		_ = os.Remove(a.Dir) // only if it is empty
		return nil
	}
	entries, err := os.ReadDir(a.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := mount.Detach(filepath.Join(a.Dir, e.Name())); err != nil {
			return err
		}
	}
	var all []error
	for _, e := range entries {
		path := filepath.Join(a.Dir, e.Name())
		switch name, _, _ := strings.Cut(e.Name(), "."); name {
		case "": // the mark
		case scratchUpper, scratchWork:
			all = append(all, os.RemoveAll(path))
		default:
			all = append(all, ignoreGone(os.Remove(path)))
		}
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	return errors.Join(ignoreGone(os.Remove(markIn(a.Dir, a.Run))), ignoreGone(os.Remove(a.Dir)))
}
