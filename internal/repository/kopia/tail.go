package kopia

import (
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/compression"
	"github.com/kopia/kopia/repo/manifest"
	"github.com/kopia/kopia/snapshot"

	"github.com/holdstill/holdstill/internal/repository"
)

// A tail is one blob beside kopia's, which leaves alone what is not called as its own:
//
//	holdstill-log-KEY-FROM-TO
//
// KEY is the HMAC-SHA256 of the log's id with the repository's secret, cut to 16 bytes, in hex; FROM and TO are 16 hex digits each. It holds a
// nonce of 12 bytes and, encrypted and authenticated with AES-256-GCM: the length of the description (4 bytes, big endian), the description's
// entry, and the bytes of the log, all compressed with zstd. The key is derived (HKDF-SHA256) from the repository's master key and the blob's
// name, which is authenticated too: a blob that was renamed is none.
//
// A commit of kopia is five blobs, one of them an index that every host reads. A tail is one, and gone when the next commit has it.
const tailPrefix = "holdstill-log-"

// tailPrefix is how the names of a log's tails begin. The id itself is not told to who sees the store.
func (s *Store) tailPrefix(log string) string {
	h := hmac.New(sha256.New, s.repo.FormatManager().GetHmacSecret())
	_, _ = h.Write([]byte("holdstill-log\x00" + log)) // never fails
	return tailPrefix + hex.EncodeToString(h.Sum(nil)[:16]) + "-"
}

func (s *Store) tailName(log string, t repository.Tail) string {
	return fmt.Sprintf("%s%016x-%016x", s.tailPrefix(log), t.From, t.To)
}

func (s *Store) sealing(name string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, s.repo.FormatManager().GetMasterKey(), []byte("holdstill tail"), name, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Append keeps a tail.
func (s *Store) Append(ctx context.Context, d repository.Description, t repository.Tail, data []byte) error {
	if err := s.appendTail(ctx, d, t, data); err != nil {
		return fmt.Errorf("cannot append to %s: %w", named(d.Kind, d.Point), meaning(err))
	}
	return nil
}

func (s *Store) appendTail(ctx context.Context, d repository.Description, t repository.Tail, data []byte) error {
	if d.Kind != repository.KindLog || t.From < 0 || t.To-t.From != int64(len(data)) || len(data) == 0 {
		return fmt.Errorf("%d bytes are not what lies from %d to %d of a log", len(data), t.From, t.To)
	}
	plain := binary.BigEndian.AppendUint32(nil, uint32(len(d.Entry)))
	plain = append(append(plain, d.Entry...), data...)
	var small bytes.Buffer
	if err := compression.ByName[compressor].Compress(&small, bytes.NewReader(plain)); err != nil {
		return err
	}
	name := s.tailName(d.Point, t)
	aead, err := s.sealing(name)
	if err != nil {
		return err
	}
	err = s.writing(ctx, func(storage blob.Storage) error {
		return storage.PutBlob(ctx, blob.ID(name), solid(aead.Seal(nil, nil, small.Bytes(), []byte(name))), blob.PutOptions{})
	})
	if err != nil {
		return err
	}
	return s.synced()
}

// writing is for blobs that are not kopia's.
func (s *Store) writing(ctx context.Context, do func(blob.Storage) error) error {
	_, session, err := s.repo.NewDirectWriter(ctx, repo.WriteSessionOptions{Purpose: "holdstill append"})
	if err != nil {
		return err
	}
	return errors.Join(do(session.BlobStorage()), session.Close(ctx))
}

// ReadTail reads a tail's bytes; ErrNotThere if a commit took it over, or the log was removed.
func (s *Store) ReadTail(ctx context.Context, l repository.Stored, t repository.Tail) ([]byte, error) {
	_, data, err := s.readTail(ctx, l.Point, t)
	return data, err
}

func (s *Store) readTail(ctx context.Context, log string, t repository.Tail) (entry json.RawMessage, data []byte, err error) {
	name := s.tailName(log, t)
	raw := &buffer{}
	err = s.repo.BlobReader().GetBlob(ctx, blob.ID(name), 0, -1, raw)
	if errors.Is(err, blob.ErrBlobNotFound) {
		return nil, nil, fmt.Errorf("%d to %d of %s: %w", t.From, t.To, named(repository.KindLog, log), repository.ErrNotThere)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the blob %s: %w", name, meaning(err))
	}
	if entry, data, err = s.unsealed(name, raw.Bytes()); err == nil && int64(len(data)) != t.To-t.From {
		err = fmt.Errorf("it has %d bytes", len(data))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the blob %s does not hold what was stored: %w", repository.ErrDamaged, name, err)
	}
	return entry, data, nil
}

func (s *Store) unsealed(name string, raw []byte) (entry json.RawMessage, data []byte, err error) {
	aead, err := s.sealing(name)
	if err != nil {
		return nil, nil, err
	}
	small, err := aead.Open(nil, nil, raw, []byte(name))
	if err != nil {
		return nil, nil, err
	}
	var plain bytes.Buffer
	if err := compression.ByName[compressor].Decompress(&plain, bytes.NewReader(small), true); err != nil {
		return nil, nil, err
	}
	all := plain.Bytes()
	if len(all) < 4 || uint64(len(all)-4) < uint64(binary.BigEndian.Uint32(all)) {
		return nil, nil, errors.New("it is too short")
	}
	at := 4 + int(binary.BigEndian.Uint32(all))
	return json.RawMessage(all[4:at]), all[at:], nil
}

// allTails lists the tails of all logs by their prefixes.
func (s *Store) allTails(ctx context.Context) (map[string][]repository.Tail, error) {
	out := map[string][]repository.Tail{}
	err := s.repo.BlobReader().ListBlobs(ctx, tailPrefix, func(m blob.Metadata) error {
		if prefix, t, ok := parseTail(string(m.BlobID)); ok {
			out[prefix] = append(out[prefix], t)
		}
		return nil
	})
	return out, err
}

func parseTail(name string) (prefix string, t repository.Tail, ok bool) {
	words := strings.Split(strings.TrimPrefix(name, tailPrefix), "-")
	if len(words) != 3 {
		return "", t, false
	}
	var faults [2]error
	t.From, faults[0] = strconv.ParseInt(words[1], 16, 64)
	t.To, faults[1] = strconv.ParseInt(words[2], 16, 64)
	return tailPrefix + words[0] + "-", t, errors.Join(faults[:]...) == nil && t.From < t.To
}

// extend adds the tails that join what is committed. The last one has the description.
func (s *Store) extend(ctx context.Context, l *repository.Stored, size int64, tails []repository.Tail) error {
	slices.SortFunc(tails, func(a, b repository.Tail) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	for _, t := range tails {
		if t.From <= size && t.To > size {
			l.Tails, size = append(l.Tails, t), t.To
		}
	}
	for len(l.Tails) > 0 {
		entry, _, err := s.readTail(ctx, l.Point, l.Tails[len(l.Tails)-1])
		if err == nil {
			l.Entry = entry
			return nil
		}
		if !errors.Is(err, repository.ErrNotThere) && !errors.Is(err, repository.ErrDamaged) {
			return err
		}
		l.Tails = l.Tails[:len(l.Tails)-1] // the log is told as far as it can be read
	}
	return nil
}

// dropTails removes a log's tails up to a place, which a commit has.
func (s *Store) dropTails(ctx context.Context, d repository.Description, upTo int64) error {
	if d.Kind != repository.KindLog {
		return nil
	}
	return s.removeTails(ctx, s.tailPrefix(d.Point), func(_ string, t repository.Tail, _ time.Time) bool { return t.To <= upTo })
}

// tailMargin is how old a tail is before anybody but its shipper removes it.
const tailMargin = time.Hour

// sweepTails removes what was left by a kill between a commit and the removal of its tails, or of a log. What the logs are is told by the labels of
// their snapshots: kopia leaves out a snapshot that it cannot load, and says so in its log only, and then its log would look like one that is gone.
func (s *Store) sweepTails(ctx context.Context, before time.Time) error {
	err := s.repo.Refresh(ctx)
	if err != nil {
		return err
	}
	snapshots, err := s.repo.FindManifests(ctx, map[string]string{manifest.TypeLabelKey: snapshot.ManifestType})
	if err != nil {
		return err
	}
	sizes := map[string]int64{}
	for _, m := range snapshots {
		if log := m.Labels[logTag]; log != "" {
			prefix := s.tailPrefix(log)
			sizes[prefix] = max(sizes[prefix], sizeIn(m.Labels))
		}
	}
	return s.removeTails(ctx, tailPrefix, func(prefix string, t repository.Tail, written time.Time) bool {
		size, there := sizes[prefix]
		return written.Before(before) && (!there || t.To <= size)
	})
}

// removeTails removes those of the tails with a prefix that are done with.
func (s *Store) removeTails(ctx context.Context, prefix string, done func(prefix string, t repository.Tail, written time.Time) bool) error {
	var gone []blob.ID
	err := s.repo.BlobReader().ListBlobs(ctx, blob.ID(prefix), func(m blob.Metadata) error {
		if of, t, ok := parseTail(string(m.BlobID)); ok && done(of, t, m.Timestamp) {
			gone = append(gone, m.BlobID)
		}
		return nil
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return s.writing(ctx, func(storage blob.Storage) error {
		var faults error
		for _, id := range gone {
			if err := storage.DeleteBlob(ctx, id); err != nil && !errors.Is(err, blob.ErrBlobNotFound) {
				faults = errors.Join(faults, err)
			}
		}
		return faults
	})
}

// solid are bytes to be stored.
type solid []byte

// Length, Reader and WriteTo make it what kopia's storages take.
func (b solid) Length() int { return len(b) }

func (b solid) Reader() io.ReadSeekCloser { return nopCloser{bytes.NewReader(b)} }

func (b solid) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b)
	return int64(n), err
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }
