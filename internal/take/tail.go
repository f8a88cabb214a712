package take

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A clean shutdown ends the binary log with a stop event: a header of 19 bytes, and a checksum of 4 where there are
// checksums. Its type, 3, stands at byte 4 of the header (the binlog event header of MySQL's and MariaDB's manuals).
const (
	stopEvent     = 3
	stopEventType = 4
	stopEventMin  = 19
	stopEventMax  = 23
)

// checkTail compares the position that was read before the stop with the end of the log after it: an account with
// SUPER can write on a read-only server until the last moment, and the position must not lie.
func (t *taking) checkTail() error {
	if t.facts.BinlogBase == "" || t.position.File == "" {
		return nil
	}
	name := filepath.Join(filepath.Dir(t.facts.BinlogBase), filepath.Base(t.position.File))
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		t.warn("the binary log %s is not where the server said: the position could not be checked after the stop", name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot check the position after the stop: %w", err)
	}
	if next := following(name); next != "" {
		if _, err := os.Lstat(next); err == nil {
			return fmt.Errorf("the server began the binary log %s after it was made read-only: it was restarted, or its log was rotated, and the position is not known any more", next)
		}
	}
	behind := info.Size() - int64(t.position.Offset)
	if behind == 0 || behind >= stopEventMin && behind <= stopEventMax && t.eventType(name) == stopEvent {
		return nil
	}
	t.warn("%d bytes were written to the binary log after the server was set read-only: the position is the end of the log, and its GTID is known after a first boot", behind)
	t.position.Offset, t.position.GTID = uint64(info.Size()), ""
	return nil
}

// following is the name of the binary log after this one: its number counts up.
func following(name string) string {
	digits := strings.TrimPrefix(filepath.Ext(name), ".")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s%0*d", strings.TrimSuffix(name, digits), len(digits), n+1)
}

func (t *taking) eventType(name string) int {
	f, err := os.Open(name)
	if err != nil {
		return -1
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], int64(t.position.Offset)+stopEventType); err != nil {
		return -1
	}
	return int(b[0])
}

func (t *taking) warn(format string, args ...any) {
	t.warnings = append(t.warnings, fmt.Sprintf(format, args...))
}
