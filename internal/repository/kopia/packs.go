package kopia

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	hashes "hash"
	"io"
	"sync"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/compression"
	"github.com/kopia/kopia/repo/content"

	"github.com/holdstill/holdstill/internal/repository"
)

// packs reads contents out of the blobs that hold them, into memory of the caller's. kopia's own way (content.Reader) copies each content
// several times and begins a stream to decompress it, which for contents of a page costs as much as all the rest of a restore.
//
// A content lies in its pack as kopia's AES256-GCM-HMAC-SHA256 makes it (repo/encryption): a nonce, and what is encrypted and
// authenticated with a key that comes from the content's id. So bytes that are not those that were stored under the id are an error,
// whatever made them so.
type packs struct {
	repo   repo.DirectRepository
	secret []byte    // that keys are made of
	spare  sync.Pool // of *unpacker
}

// newPacks is nil for a repository that encrypts in another way than ours.
func newPacks(r repo.DirectRepository) (*packs, error) {
	format := r.FormatManager()
	if format.GetEncryptionAlgorithm() != encryption || format.GetECCAlgorithm() != "" && format.GetECCOverheadPercent() > 0 {
		return nil, nil
	}
	secret, err := hkdf.Key(sha256.New, format.GetMasterKey(), []byte("encryption"), "", 32)
	if err != nil {
		return nil, fmt.Errorf("cannot make the key of the contents: %w", err)
	}
	p := &packs{repo: r, secret: secret}
	p.spare.New = func() any { return &unpacker{keys: hmac.New(sha256.New, p.secret)} }
	return p, nil
}

// length is how many bytes a content has.
func (p *packs) length(ctx context.Context, id content.ID) (int, error) {
	info, err := p.repo.ContentInfo(ctx, id)
	return int(info.OriginalLength), meaning(err)
}

// get reads a content that fills data.
func (p *packs) get(ctx context.Context, id content.ID, data []byte) error {
	info, err := p.repo.ContentInfo(ctx, id)
	if err != nil {
		return fmt.Errorf("the content %s: %w", id, meaning(err))
	}
	u := p.spare.Get().(*unpacker)
	defer p.spare.Put(u)
	err = p.repo.BlobReader().GetBlob(ctx, info.PackBlobID, int64(info.PackOffset), int64(info.PackedLength), &u.packed)
	if err != nil {
		return fmt.Errorf("cannot read the content %s from the blob %s: %w", id, info.PackBlobID, meaning(err))
	}
	if err := u.unpack(info, data); err != nil {
		return fmt.Errorf("%w: the blob %s does not hold the content %s: %w", repository.ErrDamaged, info.PackBlobID, id, err)
	}
	return nil
}

// unpacker makes contents of what packs hold, one at a time.
type unpacker struct {
	keys   hashes.Hash
	packed buffer
}

func (u *unpacker) unpack(info content.Info, data []byte) error {
	if info.EncryptionKeyID != 0 {
		return fmt.Errorf("it is encrypted with a key of its own, %d", info.EncryptionKeyID)
	}
	plain, err := u.decrypt(info.ContentID)
	if err != nil {
		return err
	}
	out := &filler{left: data}
	if info.CompressionHeaderID == content.NoCompression {
		_, err = out.Write(plain)
	} else if c := compression.ByHeaderID[info.CompressionHeaderID]; c != nil {
		err = c.Decompress(out, bytes.NewBuffer(plain), true) // of a bytes.Buffer zstd takes all at once, without a stream
	} else {
		err = fmt.Errorf("it is compressed in an unknown way, %x", info.CompressionHeaderID)
	}
	if err == nil && len(out.left) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// decrypt works where the bytes are, which are a copy.
func (u *unpacker) decrypt(id content.ID) ([]byte, error) {
	name := id.Hash()
	if len(name) < aes.BlockSize {
		return nil, errors.New("its id is too short")
	}
	name = name[len(name)-aes.BlockSize:]
	u.keys.Reset()
	_, _ = u.keys.Write(name) // never fails
	var sum [sha256.Size]byte
	block, err := aes.NewCipher(u.keys.Sum(sum[:0]))
	if err != nil {
		return nil, err
	}
	sealed, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	raw := u.packed.Bytes()
	if len(raw) < sealed.NonceSize() {
		return nil, io.ErrUnexpectedEOF
	}
	nonce, raw := raw[:sealed.NonceSize()], raw[sealed.NonceSize():]
	return sealed.Open(raw[:0], nonce, raw, name)
}

// filler writes into memory that has an end.
type filler struct{ left []byte }

func (f *filler) Write(p []byte) (int, error) {
	n := copy(f.left, p)
	f.left = f.left[n:]
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}
