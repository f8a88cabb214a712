// Package binlog reads binary log files of MySQL and MariaDB: their events, and the transactions that these make up.
//
// A file begins with the four bytes of replication.BinLogFileHeader. Events follow without gaps, each with a header of 19 bytes that has
// its length, so that an event's offset in the file is the sum of the lengths before it. The header's own log_pos is not used for that: it
// has 32 bits, and MariaDB from 11.4 on leaves it zero inside transactions. Where the format description says so, each event ends with a
// CRC32. (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html)
//
// The events themselves are decoded by github.com/go-mysql-org/go-mysql.
package binlog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-mysql-org/go-mysql/replication"
)

// Start is the offset of a file's first event.
const Start = int64(4)

// Event is one event of a file.
type Event struct {
	Header     *replication.EventHeader
	Start, End int64  // offsets in the file, of its first byte and after its last
	Raw        []byte // all of it, with header and checksum; not valid after the call that got it
	Body       []byte // what is between header and checksum
	Checksum   bool   // it has one
}

// DamagedError is a file that cannot be read on.
type DamagedError struct {
	Offset int64 // where the event begins that is damaged
	Err    error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("damaged at offset %d: %v", e.Offset, e.Err)
}
func (e *DamagedError) Unwrap() error { return e.Err }

// decode decodes an event's body. The library relies on what it reads, and a log without checksums can hold anything.
func decode(e Event, into replication.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &DamagedError{e.Start, fmt.Errorf("an event %s that cannot be decoded: %v", e.Header.EventType, p)}
		}
	}()
	if err := into.Decode(e.Body); err != nil {
		return &DamagedError{e.Start, err}
	}
	return nil
}

// ErrStop ends a scan without an error.
var ErrStop = errors.New("stop")

// begin reads what a file begins with. A server marks the file that it writes to in its first event's flags, after it has made the checksum
// of that event, so the mark is taken out.
func begin(r io.Reader) (io.Reader, error) {
	r = bufio.NewReaderSize(r, 1<<20)
	first := make([]byte, int(Start)+replication.EventHeaderSize)
	if _, err := io.ReadFull(r, first); err != nil {
		return nil, err
	}
	if !bytes.Equal(first[:Start], replication.BinLogFileHeader) {
		return nil, fmt.Errorf("it begins with %x", first[:Start])
	}
	first[int(Start)+17] &^= byte(replication.LOG_EVENT_BINLOG_IN_USE_F)
	return io.MultiReader(bytes.NewReader(first[Start:]), r), nil
}

// Scan calls fn for each event of a file, its checksum verified where it has one. It ends at the end of the reader, which must be the end of
// an event, or when fn returns an error; ErrStop is none. A *DamagedError tells where the file cannot be read.
func Scan(r io.Reader, fn func(Event) error) error {
	buffered, err := begin(r)
	if err != nil {
		return &DamagedError{0, fmt.Errorf("no binary log: %w", err)}
	}
	counted := &counter{r: buffered, n: Start}
	parser := replication.NewBinlogParser()
	parser.SetRawMode(true) // decodes nothing but the format and where the next file is
	parser.SetVerifyChecksum(true)
	at := Start
	checksum := 0
	var failed error
	each := func(e *replication.BinlogEvent) error {
		if format, ok := e.Event.(*replication.FormatDescriptionEvent); ok {
			checksum = 0
			if format.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32 {
				checksum = replication.BinlogChecksumLength
			}
		}
		begin := at
		at += int64(len(e.RawData))
		if len(e.RawData) < replication.EventHeaderSize+checksum {
			return fmt.Errorf("an event of %d bytes", len(e.RawData))
		}
		failed = fn(Event{Header: e.Header, Start: begin, End: at, Raw: e.RawData, Body: e.RawData[replication.EventHeaderSize : len(e.RawData)-checksum], Checksum: checksum > 0})
		return failed
	}
	for {
		done, err := parser.ParseSingleEvent(counted, each)
		switch {
		case errors.Is(failed, ErrStop):
			return nil
		case failed != nil:
			return failed
		case err != nil:
			return &DamagedError{at, err}
		case done && counted.n != at: // the library takes a part of a header for the end
			return &DamagedError{at, io.ErrUnexpectedEOF}
		case done:
			return nil
		}
	}
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
