package binlog

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/go-mysql-org/go-mysql/replication"
)

// Rotation is an event as a source sends it before the events of a file, with the name of that file: the one kind of event that is in no
// binary log, and made here. (https://dev.mysql.com/doc/dev/mysql-server/latest/classbinary__log_1_1Rotate__event.html)
func Rotation(file string, server uint32, checksum bool) []byte {
	size := replication.EventHeaderSize + 8 + len(file)
	if checksum {
		size += replication.BinlogChecksumLength
	}
	out := make([]byte, replication.EventHeaderSize+8, size) // of no time, and at no position
	out[4] = byte(replication.ROTATE_EVENT)
	binary.LittleEndian.PutUint32(out[5:], server)
	binary.LittleEndian.PutUint32(out[9:], uint32(size))
	binary.LittleEndian.PutUint16(out[17:], replication.LOG_EVENT_ARTIFICIAL_F)
	binary.LittleEndian.PutUint64(out[19:], uint64(Start))
	out = append(out, file...)
	if checksum {
		out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(out))
	}
	return out
}
