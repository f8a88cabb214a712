// Package archive keeps the binary logs of a server, bit for bit, beside it and synced within half a second: it follows the server as a
// replication client does, and knows what it holds and what it lacks.
//
// # The directory
//
// Each instance has one, with these files a log, where SEQ are eight digits and NAME is the server's name of it:
//
//	SEQ-NAME        the bytes of the log, magic number included, in clear
//	SEQ-NAME.json   its description (Log): written when its first events have arrived, and again now and then, and when it is closed
//	SEQ-NAME.find   an index for questions about a closed log, made by the first one (internal/binlog)
//	SEQ-NAME.mark   while it is open: how many bytes are synced (8 bytes, big endian, and their CRC-32C)
//
// And the files until, with the time at which the archive was last seen to hold all that the server had; id, which tells this archive from one
// that is made in its place when it was lost; and shipping, with how far the repository has it (internal/offsite).
//
// The directory fills has an archive of its own for each gap that is filled later, with the logs of another server, which say what they are for
// (Log.Fills). Whoever reads the archive puts them where they belong once they are whole (internal/offsite).
//
// A log exists once it has a description; bytes without one are left of an archiver that was killed, and the next one removes them. What
// the description of an open log says of its end is of the moment in which it was written; the rest is found by reading the events from
// there on, up to the mark. Descriptions are replaced whole and synced, so a kill or a power cut at any moment leaves one or the other.
//
// # What differs from the server's file
//
// Nothing, in a closed log. In an open one the format description's flag LOG_EVENT_BINLOG_IN_USE_F is clear, as the server itself sends it.
// Of a log that MariaDB encrypts the server sends what it decrypts to, without the event Start_encryption: in its place is an ignorable
// event of the same length, so that positions stay those of the server.
//
// # Gaps
//
// A log follows on the one before it, or its description has a Gap that says why it may not. Nothing else is assumed: logs of a server
// follow on one another if it sent one after the other and their GTIDs meet; logs of two servers if the GTIDs that the later one begins
// with are in the earlier ones. Before a gap is accepted the other servers of the topology are asked for what is missing (detour.go), and as long as there
// is one, again and again (fill.go).
package archive

import (
	"fmt"
	"os"
	"path/filepath"
)

// Archive is the directory of one instance, open for reading. An archiver may write to it meanwhile.
type Archive struct{ dir string }

// Open opens an archive for reading. One that nothing was written to yet is empty.
func Open(dir string) (*Archive, error) {
	info, err := os.Stat(dir)
	switch {
	case os.IsNotExist(err):
	case err != nil:
		return nil, fmt.Errorf("cannot open the binary log archive: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("cannot open the binary log archive: %s is no directory", dir)
	}
	return &Archive{dir: dir}, nil
}

// IndexSuffix ends the name of a file beside a log that an index for questions about it can be kept in.
const IndexSuffix = ".find"

// Path is where a log's bytes are: a binary log file, in clear. Only the first Size bytes of it count.
func (a *Archive) Path(l Log) string { return filepath.Join(a.dir, fileName(l.Seq, l.Name)) }

// fileName has the place in front, so that a directory's order is the archive's.
func fileName(seq int, name string) string { return fmt.Sprintf("%08d-%s", seq, name) }
