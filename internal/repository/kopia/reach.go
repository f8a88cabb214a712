package kopia

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/format"

	"github.com/holdstill/holdstill/internal/repository"
)

// patience is how long a store may take to answer for the first time. Its client tries again for much longer, which is right in the
// middle of an upload, and no help to somebody who misspelt its name.
var patience = 45 * time.Second

// identify tells the id of the repository that is there, without its password, and a place without one from one that cannot be reached.
func (s Settings) identify(ctx context.Context) (string, error) {
	var found *format.KopiaRepositoryJSON
	err := s.Location.reach(ctx, false, func(ctx context.Context, storage blob.Storage) error {
		raw := &buffer{}
		err := storage.GetBlob(ctx, format.KopiaRepositoryBlobID, 0, -1, raw)
		if errors.Is(err, blob.ErrBlobNotFound) {
			return fmt.Errorf("%s: %w", s.Location, repository.ErrNone)
		}
		if err != nil {
			return fmt.Errorf("cannot reach the repository at %s: %w", s.Location, err)
		}
		if found, err = format.ParseKopiaRepositoryJSON(raw.Bytes()); err != nil {
			return fmt.Errorf("%s: %w: %s: %w", s.Location, repository.ErrDamaged, format.KopiaRepositoryBlobID, err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return short(found.UniqueID), nil
}

// short is an id that people can compare.
func short(unique []byte) string {
	id := hex.EncodeToString(unique)
	return id[:min(len(id), 16)]
}

// reach opens the place for a look at it, and closes it again. Into a directory that is no repository kopia would write its layout, so
// we look first.
func (l Location) reach(ctx context.Context, create bool, look func(context.Context, blob.Storage) error) error {
	if dir, isDir := l.directory(); isDir && !create {
		if err := l.holds(dir); err != nil {
			return err
		}
	}
	return l.within(ctx, func(ctx context.Context) error {
		storage, err := l.storage(ctx, create)
		if err != nil {
			return err
		}
		defer func() { _ = storage.Close(ctx) }()
		return look(ctx, storage)
	})
}

// holds refuses a directory that is none, or holds no repository.
func (l Location) holds(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w: there is no such directory", l, repository.ErrNone)
	case err != nil:
		return fmt.Errorf("cannot reach %s: %w", l, err)
	case !info.IsDir():
		return fmt.Errorf("%s: %w: it is no directory", l, repository.ErrForeign)
	}
	if _, err = os.Stat(filepath.Join(dir, format.KopiaRepositoryBlobID+".f")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", l, repository.ErrNone)
	}
	return nil
}

// within does not wait for a store longer than patience. Not every client hears that the context is over, so it is left behind.
func (l Location) within(ctx context.Context, what func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- what(bounded) }()
	var err error
	select {
	case err = <-done:
	case <-bounded.Done():
		select { // a client that does hear it says more
		case err = <-done:
		case <-time.After(time.Second):
			err = bounded.Err()
		}
	}
	if ctx.Err() == nil && bounded.Err() != nil && err != nil {
		return fmt.Errorf("%s does not answer within %s: %w", l, patience, err)
	}
	return err
}

// directory is the path of a location that is one.
func (l Location) directory() (string, bool) {
	u, err := l.parse()
	if err != nil || u.Scheme != "file" {
		return "", false
	}
	return filepath.Clean(u.Path), true
}

// storage opens the place itself.
func (l Location) storage(ctx context.Context, create bool) (blob.Storage, error) {
	inner, err := l.inner()
	if err != nil {
		return nil, err
	}
	storage, err := blob.NewStorage(ctx, *inner, create)
	if err != nil {
		return nil, fmt.Errorf("cannot reach %s: %w", l, discreetly(err))
	}
	return &discreet{storage}, nil
}
