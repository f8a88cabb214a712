package kopia

import (
	"bytes"
	"io"
	"sync"

	"github.com/zeebo/blake3"
)

// idLength is how much of the hash makes a content's id, in bytes (kopia: repo/hashing, BLAKE3-256-128).
const idLength = 16

// seed is a file on this machine that may hold chunks of the stored one. A content's id is the keyed hash of its bytes, so that what
// the seed holds can be compared without fetching anything.
type seed struct {
	file    io.ReaderAt
	hashers sync.Pool
}

// seed prepares a file; nil where there is none, or where the repository hashes in a way that is not ours.
func (t *tree) seed(file io.ReaderAt) *seed {
	if file == nil || t.packs == nil {
		return nil
	}
	format := t.packs.repo.FormatManager()
	key := format.GetHmacSecret()
	if format.GetHashFunction() != hash || len(key) != 32 {
		return nil
	}
	return &seed{file: file, hashers: sync.Pool{New: func() any {
		h, err := blake3.NewKeyed(key)
		if err != nil { // the key has the right length
			panic(err)
		}
		return h
	}}}
}

// holds reads a chunk from the seed, and tells whether it is the stored one.
func (s *seed) holds(c piece, at int64, into []byte) bool {
	id, compressed, direct := c.Object.ContentID()
	if s == nil || !direct || compressed || id.HasPrefix() {
		return false
	}
	if n, _ := s.file.ReadAt(into, at); n != len(into) {
		return false
	}
	h := s.hashers.Get().(*blake3.Hasher)
	defer s.hashers.Put(h)
	h.Reset()
	_, _ = h.Write(into) // never fails
	var sum [32]byte
	return bytes.Equal(id.Hash(), h.Sum(sum[:0])[:idLength])
}
