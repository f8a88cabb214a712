package dumpfile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how the files of a dump are packed.
type Compression string

// The compressions. None is for what was packed elsewhere.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
	None Compression = "none"
)

// ParseCompression reads what people write.
func ParseCompression(text string) (Compression, error) {
	switch text {
	case "gzip", "gz", "":
		return Gzip, nil
	case "zstd", "zst":
		return Zstd, nil
	case "none":
		return None, nil
	}
	return "", fmt.Errorf("the compression must be gzip, zstd or none, not %q", text)
}

// Ext is the ending of a packed file's name.
func (c Compression) Ext() string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	}
	return ""
}

// Pack wraps a writer. Closing the result ends the compression, not w.
func (c Compression) Pack(w io.Writer) (io.WriteCloser, error) {
	switch c {
	case Gzip:
		return gzip.NewWriterLevel(w, gzipLevel)
	case Zstd:
		// one thread: the tables are what runs in parallel
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	}
	return nopCloser{w}, nil
}

// gzipLevel: beyond it the library takes more than twice the time for no smaller files of rows.
const gzipLevel = 2

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// Open opens a dump's file, of whatever compression: its first bytes tell.
func Open(path string) (io.ReadCloser, *Progress, error) { return OpenWhole(path, "") }

// OpenWhole opens a file of which the manifest tells the SHA-256, in hexadecimal. If the file is another one, its end is a *DamagedError in
// place of io.EOF, and so is any error of the compression. "" compares nothing.
func OpenWhole(path, sum string) (io.ReadCloser, *Progress, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	p := &Progress{}
	if info, err := file.Stat(); err == nil {
		p.Total = info.Size()
	}
	o := &opened{want: sum, file: file, sum: sha256.New()}
	var raw io.Reader = &counter{file, p}
	if sum != "" {
		raw = io.TeeReader(raw, o.sum)
	}
	o.packed = bufio.NewReaderSize(raw, 256<<10)
	if o.text, err = unpack(o.packed); err != nil {
		if damaged := o.compare(); damaged != nil {
			err = damaged
		}
		return nil, nil, errors.Join(fmt.Errorf("cannot read %s: %w", path, err), file.Close())
	}
	return o, p, nil
}

func unpack(in *bufio.Reader) (io.ReadCloser, error) {
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzip.NewReader(in)
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case bytes.HasPrefix(head, []byte("BZh")), bytes.Equal(head, []byte("\xfd7zX")):
		return nil, errors.New("it is packed by bzip2 or xz: unpack it, or pack it with gzip or zstd")
	}
	return io.NopCloser(in), nil
}

// DamagedError is a file that is not the one that was written. Whoever reads it knows its name.
type DamagedError struct{}

func (*DamagedError) Error() string {
	return "the file is damaged: its SHA-256 is not what the manifest says"
}

// Hint says what to do.
func (*DamagedError) Hint() string {
	return "take the file from where it was copied from, or dump again"
}

// opened is a file that is read: its text, and the sum of its own bytes.
type opened struct {
	want   string
	file   *os.File
	packed *bufio.Reader
	sum    hash.Hash
	text   io.ReadCloser
}

func (o *opened) Read(b []byte) (int, error) {
	n, err := o.text.Read(b)
	if err != nil {
		if damaged := o.compare(); damaged != nil {
			err = damaged
		}
	}
	return n, err
}

// compare reads what is left of the file, and tells whether it is the one that was written.
func (o *opened) compare() error {
	if o.want == "" {
		return nil
	}
	if _, err := io.Copy(io.Discard, o.packed); err != nil {
		return err
	}
	if hex.EncodeToString(o.sum.Sum(nil)) != o.want {
		return &DamagedError{}
	}
	return nil
}

func (o *opened) Close() error { return errors.Join(o.text.Close(), o.file.Close()) }
