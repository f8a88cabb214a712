// Package kopia keeps points in a kopia repository (https://kopia.io, used as a library), which the stock kopia program reads: `kopia
// snapshot list`, `restore` and `mount` give the files back without Holdstill.
//
// # What is written
//
// A point is a kopia snapshot of the source holdstill@HOST:/INSTANCE, tagged holdstill-point:ID. Its tree holds the server's files
// under their real paths, and holdstill-point.json, the catalogue's entry. Directories, file objects and indirect objects are
// kopia's own (repo/object: the JSON streams kopia:directory and kopia:indirect), with two things that kopia's uploader does not do:
//
//   - A file is cut at fixed places into chunks of a power of two bytes, so that a rewritten database page is one chunk.
//   - A file longer than a segment (4 MiB) is an indirect object of segments, each an indirect object of chunks. kopia reads through
//     any depth of indirection. A changed chunk rewrites its segment's index and the list of segments, not an index of the whole file.
//
// Unchanged segments and chunks are taken over by reference from the point before: nothing depends on a chain.
package kopia

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/throttling"
	"github.com/kopia/kopia/repo/compression"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"

	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/repository"
)

// The format of a new repository, chosen by measurement (docs/decisions/0015).
const (
	hash        = "BLAKE3-256-128"
	encryption  = "AES256-GCM-HMAC-SHA256"
	splitter    = "FIXED-4M" // for what is not cut by us; no chunk of ours is longer
	compressor  = compression.Name("zstd-fastest")
	metadataAlg = compression.Name("zstd-fastest")

	userName      = "holdstill"
	metadataCache = 2 << 30  // bytes on disk: indexes and directories, which every command reads
	dataCache     = 64 << 20 // bytes on disk: what maintenance moves; kopia cannot do without any
)

// Settings say where the store is and how this host uses it.
type Settings struct {
	Location Location
	Password string
	// Dir holds what this host keeps of the store: its id, a cache of indexes, and the connection as kopia wants it, without secrets.
	Dir  string
	Host string
	// UploadLimit and DownloadLimit are in bytes per second; 0: none.
	UploadLimit, DownloadLimit float64
}

// Store is an open kopia repository.
type Store struct {
	repo     repo.DirectRepository
	settings Settings

	mu     sync.Mutex
	reader repo.DirectRepository // for files' contents; opened when it is first needed
}

// Connect opens a repository for the first time on this host, or anew, whatever the host knew before.
func Connect(ctx context.Context, s Settings) (*Store, error) {
	id, err := s.identify(ctx)
	if err != nil {
		return nil, err
	}
	store, err := open(ctx, s, id)
	if err != nil {
		return nil, err
	}
	err = renameio.WriteFile(s.idFile(), []byte(id+"\n"), 0o600, renameio.IgnoreUmask())
	if err = errors.Join(err, durable.SyncDir(s.Dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot remember the repository: %w", err), store.Close(ctx))
	}
	s.forgetOthers(id)
	return store, nil
}

// forgetOthers removes what was kept of repositories that this host knew before.
func (s Settings) forgetOthers(id string) {
	caches, _ := filepath.Glob(s.cache("*"))
	for _, dir := range caches {
		if dir != s.cache(id) {
			_ = os.RemoveAll(dir) // a cache that stays takes some space
		}
	}
}

// Open opens the repository that this host is connected to; the first time it connects.
func Open(ctx context.Context, s Settings) (*Store, error) {
	known, err := s.Known()
	if err != nil {
		return nil, err
	}
	if known == "" {
		return Connect(ctx, s)
	}
	id, err := s.identify(ctx)
	if err != nil {
		return nil, err
	}
	if known != id {
		return nil, fmt.Errorf("%s: %w: it is %s, and this machine knows %s", s.Location, repository.ErrOther, id, known)
	}
	return open(ctx, s, id)
}

// Known is the id of the repository that this host was last connected to; "" if there was none.
func (s Settings) Known() (string, error) {
	id, err := os.ReadFile(s.idFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("cannot read which repository this machine knows: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

func (s Settings) idFile() string { return filepath.Join(s.Dir, "id") }

// cache is where this host keeps indexes of the repository, which another one must never see.
func (s Settings) cache(id string) string { return filepath.Join(s.Dir, "cache", id) }

func open(ctx context.Context, s Settings, id string) (*Store, error) {
	direct, err := s.connect(ctx, "connection.json", &content.CachingOptions{CacheDirectory: s.cache(id),
		MetadataCacheSizeBytes: metadataCache, ContentCacheSizeBytes: dataCache})
	if err != nil {
		return nil, err
	}
	return &Store{repo: direct, settings: s}, nil
}

// reading is the repository opened for reading by the library (a check, and files that are stored in another way than ours): without its
// cache on disk, which would write a file for each chunk. What is read comes through our cache of blocks.
func (s *Store) reading(ctx context.Context) (repo.DirectRepository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader != nil {
		return s.reader, s.reader.Refresh(ctx)
	}
	r, err := s.settings.connect(ctx, "reading.json", &content.CachingOptions{})
	s.reader = r
	return r, err
}

func (s Settings) connect(ctx context.Context, name string, caching *content.CachingOptions) (repo.DirectRepository, error) {
	file, err := s.configure(name, caching)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare the connection to %s: %w", s.Location, err)
	}
	r, err := repo.Open(ctx, file, s.Password, &repo.Options{
		DisableRepositoryLog: true, // we have a log of our own, and theirs costs a twentieth of the time
		OnFatalError:         func(error) {},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot open the repository at %s: %w", s.Location, meaning(err))
	}
	direct, ok := r.(repo.DirectRepository)
	if !ok {
		return nil, errors.Join(fmt.Errorf("cannot open the repository at %s: it is behind a server", s.Location), r.Close(ctx))
	}
	return direct, nil
}

// configure writes the file that kopia opens a repository with. It is written anew every time, so that what the configuration says counts,
// and has no secrets in it: the place is named, and looked up in this process (registerPlaces).
func (s Settings) configure(name string, caching *content.CachingOptions) (string, error) {
	for _, dir := range []string{s.Dir, caching.CacheDirectory} {
		if dir == "" {
			continue
		}
		if err := durable.MakeDir(dir); err != nil {
			return "", err
		}
	}
	file := filepath.Join(s.Dir, name)
	local := repo.LocalConfig{
		Storage: s.Location.connection(file),
		Caching: caching,
		ClientOptions: repo.ClientOptions{Hostname: s.Host, Username: userName, Description: "Holdstill",
			FormatBlobCacheDuration: -1, // a password that was changed counts at once
			Throttling:              &throttling.Limits{UploadBytesPerSecond: s.UploadLimit, DownloadBytesPerSecond: s.DownloadLimit}},
	}
	raw, err := json.Marshal(local)
	if err != nil {
		return "", err
	}
	return file, renameio.WriteFile(file, raw, 0o600, renameio.IgnoreUmask())
}

// ID is the repository's own.
func (s *Store) ID() string { return short(s.repo.UniqueID()) }

// Close ends the connection.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.repo.Close(ctx)
	if s.reader != nil {
		err = errors.Join(err, s.reader.Close(ctx))
	}
	return err
}

// meaning translates kopia's errors.
func meaning(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, repo.ErrInvalidPassword):
		return repository.ErrPassword
	case errors.Is(err, repo.ErrAlreadyInitialized):
		return repository.ErrExists
	case errors.Is(err, repository.ErrDamaged):
		return err
	case errors.Is(err, blob.ErrBlobNotFound), errors.Is(err, content.ErrContentNotFound), errors.Is(err, object.ErrObjectNotFound),
		errors.Is(err, blob.ErrInvalidRange), garbled(err):
		return fmt.Errorf("%w: %w", repository.ErrDamaged, err)
	}
	return err
}

// garbled tells whether bytes came back that are not those that were stored. kopia has only words for it.
func garbled(err error) bool {
	text := err.Error()
	return strings.Contains(text, "unable to decrypt content") || strings.Contains(text, "invalid checksum at ") || strings.Contains(text, "invalid (offset=")
}
