package kopia

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/format"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"

	"github.com/holdstill/holdstill/internal/repository"
)

// checker walks the points. What several points share is looked at once.
type checker struct {
	repo   repo.DirectRepository
	o      repository.CheckOptions
	health repository.Health
	packs  map[blob.ID]int64   // every pack that is there, and its length
	seen   map[object.ID]error // what was found out about an object
	sound  map[string]bool     // chunks, by their hash
	tree   *tree
}

// Check looks at every content of every file: that the pack which holds it is there and long enough, and, for a part of them, that it can be
// decrypted and is what was stored.
func (s *Store) Check(ctx context.Context, o repository.CheckOptions) (repository.Health, error) {
	manifests, err := s.manifests(ctx, pointTag, logTag)
	if err != nil {
		return repository.Health{}, fmt.Errorf("cannot check %s: %w", s.settings.Location, meaning(err))
	}
	reader, err := s.reading(ctx) // after the list: what is in the list is then in its indexes
	if err != nil {
		return repository.Health{}, fmt.Errorf("cannot check %s: %w", s.settings.Location, meaning(err))
	}
	c := &checker{repo: reader, o: o, packs: map[blob.ID]int64{}, seen: map[object.ID]error{}, sound: map[string]bool{}}
	c.health.Damages = []repository.Damage{}
	if err == nil {
		err = s.repo.BlobReader().ListBlobs(ctx, "", func(m blob.Metadata) error {
			c.packs[m.BlobID] = m.Length
			return nil
		})
	}
	if err != nil {
		return c.health, fmt.Errorf("cannot check %s: %w", s.settings.Location, meaning(err))
	}
	for _, m := range manifests {
		of := repository.Damage{Point: m.Tags[pointTag], Log: m.Tags[logTag]}
		switch {
		case o.Point != "" && o.Point != of.Point:
			continue
		case of.Log != "":
			c.health.Logs++
		default:
			c.health.Points++
		}
		c.tree = &tree{repo: reader, root: m.RootEntry}
		if err := c.entry(ctx, of, "/", m.RootEntry); err != nil {
			return c.health, err
		}
	}
	if o.Point != "" {
		return c.health, nil
	}
	return c.health, c.tails(ctx, s)
}

// tails looks at what was appended to logs. There is little of it, so all is read.
func (c *checker) tails(ctx context.Context, s *Store) error {
	tails, err := s.allTails(ctx)
	if err != nil {
		return fmt.Errorf("cannot check %s: %w", s.settings.Location, meaning(err))
	}
	logs, err := s.Logs(ctx)
	if err != nil {
		return err
	}
	for _, l := range logs {
		for _, t := range tails[s.tailPrefix(l.Point)] {
			data, err := s.ReadTail(ctx, l, t)
			if errors.Is(err, repository.ErrNotThere) { // a commit has it meanwhile
				continue
			}
			c.health.Bytes += int64(len(data))
			if err := c.note(ctx, repository.Damage{Log: l.Point}, fmt.Sprintf("tail at %d", t.From), err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) entry(ctx context.Context, of repository.Damage, name string, e *snapshot.DirEntry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.Type == snapshot.EntryTypeDirectory {
		return c.directory(ctx, of, name, e)
	}
	c.health.Files++
	if c.o.Progress != nil {
		c.o.Progress(c.health.Files)
	}
	err, known := c.seen[e.ObjectID]
	if !known {
		err = c.object(ctx, e.ObjectID, e.FileSize)
		c.seen[e.ObjectID] = err
	}
	return c.note(ctx, of, name, err)
}

func (c *checker) directory(ctx context.Context, of repository.Damage, name string, e *snapshot.DirEntry) error {
	children, err := c.tree.raw(ctx, e.ObjectID)
	if err != nil {
		return c.note(ctx, of, name, err)
	}
	for _, child := range children {
		if err := c.entry(ctx, of, path.Join(name, child.Name), child); err != nil {
			return err
		}
	}
	return nil
}

// note records a damage. An error of a store that does not answer any more is no damage, and ends the check.
func (c *checker) note(ctx context.Context, of repository.Damage, file string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, gone := c.repo.BlobReader().GetMetadata(ctx, format.KopiaRepositoryBlobID); gone != nil {
		return fmt.Errorf("cannot go on with the check: %w", gone)
	}
	of.File, of.Text = file, err.Error()
	c.health.Damages = append(c.health.Damages, of)
	return nil
}

// object looks at everything that an object consists of; all its faults would say the same, so the first is enough.
func (c *checker) object(ctx context.Context, id object.ID, length int64) error {
	if under, indirect := id.IndexObjectID(); indirect {
		if err := c.object(ctx, under, -1); err != nil {
			return err
		}
		pieces, err := parts(ctx, c.repo, id, length)
		if err != nil {
			return err
		}
		for _, p := range pieces {
			if err := c.piece(ctx, p); err != nil {
				return fmt.Errorf("at %d: %w", p.Start, err)
			}
		}
		return nil
	}
	return c.content(ctx, id)
}

// piece looks at a part of an object that was not looked at yet. There are millions of chunks, so of those only the sound ones are kept in mind.
func (c *checker) piece(ctx context.Context, p piece) error {
	if id, _, direct := p.Object.ContentID(); direct {
		key := string(id.Hash())
		if c.sound[key] {
			return nil
		}
		err := c.object(ctx, p.Object, p.Length)
		c.sound[key] = err == nil
		return err
	}
	err, known := c.seen[p.Object]
	if !known {
		err = c.object(ctx, p.Object, p.Length)
		c.seen[p.Object] = err
	}
	return err
}

func (c *checker) content(ctx context.Context, id object.ID) error {
	cid, _, ok := id.ContentID()
	if !ok {
		return fmt.Errorf("%w: %s is no object", repository.ErrDamaged, id)
	}
	info, err := c.repo.ContentInfo(ctx, cid)
	if errors.Is(err, content.ErrContentNotFound) {
		return fmt.Errorf("%w: the index does not know the content %s", repository.ErrDamaged, cid)
	}
	if err != nil {
		return meaning(err)
	}
	length, there := c.packs[info.PackBlobID]
	switch {
	case !there:
		return fmt.Errorf("%w: the blob %s, which holds it, is missing", repository.ErrDamaged, info.PackBlobID)
	case length < int64(info.PackOffset)+int64(info.PackedLength):
		return fmt.Errorf("%w: the blob %s, which holds it, is cut off at %d bytes", repository.ErrDamaged, info.PackBlobID, length)
	}
	if c.o.Read < 100 && rand.Float64()*100 >= c.o.Read {
		return nil
	}
	data, err := c.repo.ContentReader().GetContent(ctx, cid)
	if err != nil {
		return fmt.Errorf("%w: the blob %s does not hold what was stored: %w", repository.ErrDamaged, info.PackBlobID, err)
	}
	c.health.Bytes += int64(len(data))
	return nil
}
