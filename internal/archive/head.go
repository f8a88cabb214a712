package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"

	"github.com/go-mysql-org/go-mysql/replication"
)

// head is the log's Head.
func (o *opening) head() string {
	h := sha256.New()
	h.Write(o.format)
	h.Write(o.second)
	return hex.EncodeToString(h.Sum(nil))
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
