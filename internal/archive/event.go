package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"
)

const (
	headerSize   = replication.EventHeaderSize
	checksumSize = replication.BinlogChecksumLength
	start        = 4 // of the first event: the magic number is before it

	inUse      = 0x01 // LOG_EVENT_BINLOG_IN_USE_F: of a format description whose file is being written to
	artificial = 0x20 // LOG_EVENT_ARTIFICIAL_F: made for us, in no file
	ignorable  = 0x80 // LOG_EVENT_IGNORABLE_F: a reader that does not know the event goes on

	heartbeat2 = 41
)

var magic = replication.BinLogFileHeader

// errDamaged means that bytes are not the event that they should be.
var errDamaged = errors.New("damaged")

// header is the head of every event.
type header struct {
	at     time.Time
	kind   replication.EventType
	server uint32
	size   int64
	end    uint32 // where it ends in the server's file, modulo 2^32; 0: the server does not say
	flags  uint16
}

func readHeader(raw []byte) (header, error) {
	if len(raw) < headerSize {
		return header{}, fmt.Errorf("%w: %d bytes are less than the head of an event", errDamaged, len(raw))
	}
	h := header{
		at:     time.Unix(int64(binary.LittleEndian.Uint32(raw)), 0).UTC(),
		kind:   replication.EventType(raw[4]),
		server: binary.LittleEndian.Uint32(raw[5:]),
		size:   int64(binary.LittleEndian.Uint32(raw[9:])),
		end:    binary.LittleEndian.Uint32(raw[13:]),
		flags:  binary.LittleEndian.Uint16(raw[17:]),
	}
	if h.size < headerSize {
		return h, fmt.Errorf("%w: an event of %d bytes is too short", errDamaged, h.size)
	}
	return h, nil
}

// sound verifies an event's checksum.
func sound(raw []byte, h header, checksums bool) error {
	if int64(len(raw)) != h.size {
		return fmt.Errorf("%w: the event has %d bytes and says %d", errDamaged, len(raw), h.size)
	}
	if !checksums {
		return nil
	}
	if len(raw) < headerSize+checksumSize {
		return fmt.Errorf("%w: an event of %d bytes has no room for its checksum", errDamaged, len(raw))
	}
	body, sum := raw[:len(raw)-checksumSize], binary.LittleEndian.Uint32(raw[len(raw)-checksumSize:])
	computed := crc32.ChecksumIEEE(body)
	if h.kind == replication.FORMAT_DESCRIPTION_EVENT && h.flags&inUse != 0 {
		computed = crc32.ChecksumIEEE(cleared(body)) // the server computes it as of a closed file
	}
	if computed != sum {
		return fmt.Errorf("%w: the checksum of the event is wrong", errDamaged)
	}
	return nil
}

// placed verifies that an event is the one that belongs at the offset. MariaDB leaves out positions inside of transactions from 11.4 on.
func placed(h header, offset int64) error {
	if h.end != 0 && h.end != uint32(offset+h.size) {
		return fmt.Errorf("%w: an event that ends at %d cannot be at %d", errDamaged, h.end, offset)
	}
	return nil
}

// cleared is a format description without the in-use flag.
func cleared(raw []byte) []byte {
	out := bytes.Clone(raw)
	out[17] &^= inUse
	return out
}

// checksummed tells whether the events of a file have checksums, by its format description.
func checksummed(raw []byte) (bool, error) {
	f := &replication.FormatDescriptionEvent{}
	if err := decode(f, raw[headerSize:]); err != nil {
		return false, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return f.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32, nil
}

// decode calls a decoder of the library, some of which panic on bytes that are not what they expect.
func decode(e interface{ Decode([]byte) error }, body []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return e.Decode(body)
}

// body is an event without its head and its checksum.
func body(raw []byte, checksums bool) []byte {
	if checksums {
		raw = raw[:max(headerSize, len(raw)-checksumSize)]
	}
	return raw[headerSize:]
}
