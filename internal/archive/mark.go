package archive

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func markName(dir string, e *entry) string {
	return filepath.Join(dir, fileName(e.Seq, e.Name)+markSuffix)
}

// readMark tells how many bytes of an open log are synced. A mark that cannot be read says nothing: its bytes are found again.
func readMark(dir string, e *entry) (int64, bool) {
	raw, err := os.ReadFile(markName(dir, e))
	if err != nil || len(raw) != 12 || crc32.Checksum(raw[:8], castagnoli) != binary.BigEndian.Uint32(raw[8:]) {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(raw)), true
}

// writeMark says it. It is not synced itself: after a power cut it may be older than the truth, never ahead of it.
func writeMark(f *os.File, synced int64) error {
	raw := binary.BigEndian.AppendUint64(nil, uint64(synced))
	raw = binary.BigEndian.AppendUint32(raw, crc32.Checksum(raw, castagnoli))
	_, err := f.WriteAt(raw, 0)
	return err
}
