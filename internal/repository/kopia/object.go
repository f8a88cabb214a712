package kopia

import (
	"context"
	"fmt"
	"io"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"

	"github.com/holdstill/holdstill/internal/repository"
)

// segment is the length of the pieces of a file that have an index of their own, in bytes. kopia's reader holds one in memory.
const segment = 4 << 20

// indexPrefix is what kopia gives the contents that are indexes of others (repo/object); they lie in packs of their own, which are cached.
const indexPrefix = "x"

type opener interface {
	OpenObject(context.Context, object.ID) (object.Reader, error)
}

// parts reads the index of an object of that length (-1: unknown); an object without one has one part, itself.
func parts(ctx context.Context, r opener, id object.ID, length int64) ([]piece, error) {
	under, indirect := id.IndexObjectID()
	if !indirect {
		return []piece{{Length: length, Object: id}}, nil
	}
	raw, err := read(ctx, r, under)
	if err != nil {
		return nil, err
	}
	return parse(raw, under, length)
}

// parse reads the index under an object of that length.
func parse(raw []byte, under object.ID, length int64) ([]piece, error) {
	pieces, err := entries(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: the index %s is not one: %w", repository.ErrDamaged, under, err)
	}
	at := int64(0)
	for _, p := range pieces {
		if p.Start != at || p.Length <= 0 {
			return nil, fmt.Errorf("%w: the index %s has a gap at %d", repository.ErrDamaged, under, at)
		}
		at += p.Length
	}
	if length >= 0 && at != length {
		return nil, fmt.Errorf("%w: the index %s is of %d bytes, not %d", repository.ErrDamaged, under, at, length)
	}
	return pieces, nil
}

// read reads a small object whole.
func read(ctx context.Context, r opener, id object.ID) ([]byte, error) {
	reader, err := r.OpenObject(ctx, id)
	if err != nil {
		return nil, meaning(err)
	}
	defer func() { _ = reader.Close() }()
	raw, err := io.ReadAll(reader)
	return raw, meaning(err)
}

// write stores an object; a prefix, one letter, puts it with the indexes and directories.
func (w *writer) write(ctx context.Context, data []byte, prefix content.IDPrefix, what string) (object.ID, error) {
	o := w.session.NewObjectWriter(ctx, object.WriterOptions{Description: what, Prefix: prefix, Compressor: compressor, MetadataCompressor: metadataAlg})
	defer func() { _ = o.Close() }()
	if _, err := o.Write(data); err != nil {
		return object.EmptyID, err
	}
	return o.Result()
}

// join stores the index of pieces and gives the object that they make.
func (w *writer) join(ctx context.Context, pieces []piece, what string) (object.ID, error) {
	if len(pieces) == 1 {
		return pieces[0].Object, nil
	}
	id, err := w.write(ctx, indexOf(pieces), indexPrefix, what)
	if err != nil {
		return object.EmptyID, err
	}
	return object.ParseID("I" + id.String())
}
