package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/go-mysql-org/go-mysql/replication"
)

// head is the log's Head.
func (o *opening) head() string {
	h := sha256.New()
	h.Write(o.format)
	h.Write(o.second)
	return hex.EncodeToString(h.Sum(nil))
}

// known reads the format description of an archived log, if the log begins as it did. What that says of checksums is relied on, so that
// its own is not enough: a flipped bit could switch them all off.
func known(f io.ReaderAt, l Log) ([]byte, error) {
	o, at := opening{}, int64(start)
	if first := make([]byte, start); !full(f.ReadAt(first, 0)) || string(first) != string(magic) {
		return nil, fmt.Errorf("%w: the file is no binary log", errDamaged)
	}
	for o.second == nil {
		raw, err := eventAt(f, at)
		if err != nil {
			return nil, err
		}
		at += int64(len(raw))
		switch {
		case o.format == nil:
			o.format = raw
		case !l.Encrypted || replication.EventType(raw[4]) != replication.IGNORABLE_EVENT:
			o.second = raw
		}
	}
	if o.head() != l.Head {
		return nil, fmt.Errorf("%w: the file does not begin with the events with which the log began", errDamaged)
	}
	return o.format, nil
}

func full(n int, err error) bool { return n == start && (err == nil || errors.Is(err, io.EOF)) }

// eventAt reads one of the first events, which are small.
func eventAt(f io.ReaderAt, at int64) ([]byte, error) {
	raw := make([]byte, headerSize)
	_, err := f.ReadAt(raw, at)
	if err == nil {
		var h header
		if h, err = readHeader(raw); err == nil && h.size <= 1<<26 {
			raw = make([]byte, h.size)
			_, err = f.ReadAt(raw, at)
		}
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: the file ends inside of its first events", errDamaged)
	}
	return raw, err
}

// bytes are the beginning of our file: with an event in the hole, so that all others keep their positions.
func (o *opening) bytes() []byte {
	out := append([]byte(nil), magic...)
	out = append(out, o.format...)
	if o.hole > 0 {
		out = append(out, filler(o, uint32(len(out)))...)
	}
	return append(out, o.second...)
}

// filler is an event that every reader ignores, as long as the Start_encryption that the server left out.
func filler(o *opening, at uint32) []byte {
	raw := make([]byte, o.hole)
	copy(raw, o.format[:headerSize]) // its time and server
	raw[4] = byte(replication.IGNORABLE_EVENT)
	binary.LittleEndian.PutUint32(raw[9:], uint32(o.hole))
	binary.LittleEndian.PutUint32(raw[13:], at+uint32(o.hole))
	binary.LittleEndian.PutUint16(raw[17:], ignorable)
	if o.checksums {
		end := len(raw) - checksumSize
		binary.LittleEndian.PutUint32(raw[end:], crc32.ChecksumIEEE(raw[:end]))
	}
	return raw
}
