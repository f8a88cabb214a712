package kopia

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/format"

	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/repository"
)

// Init makes a new repository in an empty place, and connects to it. One that was killed can be repeated: until the last of what is
// written is there, the place counts as empty; from then on there is a repository, which Connect opens.
func Init(ctx context.Context, s Settings) (*Store, error) {
	if len(s.Password) == 0 {
		return nil, errors.New("cannot initialise the repository: the password is empty")
	}
	if err := s.Location.makeDir(); err != nil {
		return nil, err
	}
	if err := s.Location.reach(ctx, true, func(ctx context.Context, storage blob.Storage) error { return vacant(ctx, storage, s.Location) }); err != nil {
		return nil, err
	}
	if err := s.initialise(ctx); err != nil {
		return nil, err
	}
	store, err := Connect(ctx, s)
	if err != nil {
		return nil, err
	}
	return store, store.settle(ctx)
}

func (s Settings) initialise(ctx context.Context) error {
	storage, err := s.Location.storage(ctx, true)
	if err != nil {
		return err
	}
	defer func() { _ = storage.Close(ctx) }()
	options := &repo.NewRepositoryOptions{
		BlockFormat:     format.ContentFormat{Hash: hash, Encryption: encryption},
		ObjectFormat:    format.ObjectFormat{Splitter: splitter},
		RetentionMode:   s.Location.Lock.mode(),
		RetentionPeriod: s.Location.Lock.Period,
	}
	options.BlockFormat.EnablePasswordChange = true
	// what an init that was killed left, see vacant; kopia would take it for damage
	if err := storage.DeleteBlob(ctx, format.KopiaBlobCfgBlobID); err != nil && !errors.Is(err, blob.ErrBlobNotFound) {
		return fmt.Errorf("cannot initialise the repository at %s: %w", s.Location, err)
	}
	if err := repo.Initialize(ctx, storage, options, s.Password); err != nil {
		return fmt.Errorf("cannot initialise the repository at %s: %w", s.Location, meaning(err))
	}
	if dir, isDir := s.Location.directory(); isDir {
		return durable.SyncDir(dir) // kopia syncs files, not their names
	}
	return nil
}

// vacant refuses a place that holds anything, except what an init leaves that is killed before it has made a repository.
func vacant(ctx context.Context, storage blob.Storage, at Location) error {
	_, err := storage.GetMetadata(ctx, format.KopiaRepositoryBlobID)
	if err == nil {
		return fmt.Errorf("cannot initialise %s: %w", at, repository.ErrExists)
	}
	if !errors.Is(err, blob.ErrBlobNotFound) {
		return fmt.Errorf("cannot look into %s: %w", at, err)
	}
	found, stop := blob.ID(""), errors.New("one is enough")
	err = storage.ListBlobs(ctx, "", func(m blob.Metadata) error {
		if m.BlobID == format.KopiaBlobCfgBlobID {
			return nil
		}
		found = m.BlobID
		return stop
	})
	switch {
	case err != nil && !errors.Is(err, stop):
		return fmt.Errorf("cannot look into %s: %w", at, err)
	case found != "":
		return fmt.Errorf("cannot initialise %s: %w: %s (a repository wants an empty place)", at, repository.ErrForeign, found)
	}
	return nil
}

// makeDir makes the directory that the location is, so that it survives a power cut, and refuses one that holds anything: kopia writes
// into it before it looks.
func (l Location) makeDir() error {
	dir, isDir := l.directory()
	if !isDir {
		return nil
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("cannot initialise %s: %w: it is no directory", l, repository.ErrForeign)
	}
	if err := durable.MakeDir(dir); err != nil {
		return fmt.Errorf("cannot make the directory of the repository: %w", err)
	}
	return l.foreign(dir)
}

// foreign refuses a directory that holds anything but what an init leaves that was killed.
func (l Location) foreign(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot look into %s: %w", l, err)
	}
	for _, e := range entries {
		if e.Name() == format.KopiaRepositoryBlobID+".f" {
			return fmt.Errorf("cannot initialise %s: %w", l, repository.ErrExists)
		}
	}
	for _, e := range entries {
		if !unfinished(e.Name()) && e.Name() != "lost+found" {
			return fmt.Errorf("cannot initialise %s: %w: %s (a repository wants an empty directory)", l, repository.ErrForeign, e.Name())
		}
	}
	return nil
}

// unfinished reports whether an init that is killed leaves such a file: what kopia writes first, and what it was about to rename.
func unfinished(name string) bool {
	temporary, _ := filepath.Match("kopia.*.f.tmp.*", name)
	return temporary || name == ".shards" || strings.HasPrefix(name, ".shards.tmp.") || name == format.KopiaBlobCfgBlobID+".f"
}
