package ship

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/extent"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// base is the last point that the repository holds and whose cut is still here: what is not known to differ from it is taken over.
type base struct {
	cut     *contents
	of      *catalog.Point
	stored  map[string]*repository.Node // files by their real path
	byInode map[inode]*file
	byName  map[string]*file
	chunk   int    // the length of its pieces; 0: unknown
	why     string // why there is none, or why it says nothing
}

type inode struct {
	unit  string
	value uint64
}

// findBase looks for a point to compare with. That there is none is no error: everything is read then.
func findBase(ctx context.Context, r Request, stored []repository.Stored, deps Deps) *base {
	b := &base{why: "it is the first point of the instance in this repository"}
	for _, p := range r.Before {
		s, there := find(stored, p.ID)
		if !there || len(p.Snapshot.Refs) == 0 {
			continue
		}
		err := b.open(ctx, p, s, deps)
		if err == nil {
			b.why = ""
			return b
		}
		deps.Log.Info("not compared with the point "+p.ID+": "+err.Error(), "point", r.Point.ID)
		b.why = err.Error()
		_ = b.close()
		*b = base{why: b.why}
	}
	if len(r.Before) == 0 && slices.ContainsFunc(stored, func(s repository.Stored) bool { return s.Instance == r.Point.Instance && s.Host == r.Point.Host }) {
		b.why = "the cut of the point before is gone"
	}
	return b
}

func (b *base) open(ctx context.Context, p *catalog.Point, s repository.Stored, deps Deps) (err error) {
	b.of = p
	if p.Repository != nil {
		b.chunk = p.Repository.Chunk
	}
	if b.cut, err = open(ctx, p, deps); err != nil {
		return err
	}
	if err := b.cut.list(); err != nil {
		return err
	}
	b.byInode, b.byName = map[inode]*file{}, map[string]*file{}
	for _, f := range b.cut.files {
		b.byName[f.real] = f
		b.byInode[inode{f.unit, f.inode}] = f
	}
	return b.read(ctx, s, deps)
}

// read lists what the repository holds of the point.
func (b *base) read(ctx context.Context, s repository.Stored, deps Deps) error {
	tree, err := deps.Store.Open(ctx, s)
	if err != nil {
		return err
	}
	root, err := tree.Root(ctx)
	if err == nil {
		b.stored = map[string]*repository.Node{}
		err = b.collect(ctx, tree, root, "/")
	}
	return errors.Join(err, tree.Close(ctx))
}

func (b *base) collect(ctx context.Context, tree repository.Tree, dir *repository.Node, at string) error {
	entries, err := tree.Entries(ctx, dir)
	if err != nil {
		return err
	}
	for _, n := range entries {
		full := path.Join(at, n.Name)
		switch {
		case n.Mode.IsDir():
			if err := b.collect(ctx, tree, n, full); err != nil {
				return err
			}
		case n.Mode&fs.ModeType == 0:
			b.stored[full] = n
		}
	}
	return nil
}

func (b *base) close() error {
	if b.cut == nil {
		return nil
	}
	return b.cut.close()
}

func (b *base) point() string {
	if b.of == nil || b.why != "" {
		return ""
	}
	return b.of.ID
}

// compare finds the earlier version of a file and says where it may differ; no content means that all of it has to be read.
func (b *base) compare(f *file, now *os.File) (repository.Content, []extent.Range) {
	was := b.partner(f)
	if was == nil || f.tree == nil || was.tree == nil {
		return "", nil
	}
	node := b.stored[was.real]
	if node == nil || node.Size != was.node.Size {
		return "", nil
	}
	old, err := os.Open(was.inside)
	if err != nil {
		return "", nil
	}
	defer old.Close()
	changed, err := differ(was.tree, old, f.tree, now)
	if err != nil {
		return "", nil // ErrUnknown, or a map that could not be read: in doubt everything is
	}
	return node.Content, changed
}

// partner is the file of the earlier cut that a file most likely comes from: a snapshot keeps inode numbers, so a renamed file is found.
// A wrong one costs reading, never a wrong answer.
func (b *base) partner(f *file) *file {
	if b.cut == nil || f.tree == nil {
		return nil
	}
	if was := b.byInode[inode{f.unit, f.inode}]; was != nil {
		return was
	}
	return b.byName[f.real]
}

// differ asks the file systems; the cuts of images need both the inner and the outer one.
func differ(wasTree snapshot.Tree, was *os.File, nowTree snapshot.Tree, now *os.File) ([]extent.Range, error) {
	a, layered := wasTree.(snapshot.Layered)
	b, both := nowTree.(snapshot.Layered)
	if layered != both {
		return nil, fmt.Errorf("%s and %s were cut in different ways", was.Name(), now.Name())
	}
	if layered {
		return extent.ChangedThrough(extent.Layered{File: was, Image: a.Image()}, extent.Layered{File: now, Image: b.Image()})
	}
	return extent.Changed(was, now)
}

// Basis tells people what a ship was compared with, or why with nothing.
func (r *Result) Basis() string {
	if r.Compared != "" {
		return "compared with " + r.Compared
	}
	return "everything was read: " + r.Why
}
