package archive

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/go-mysql-org/go-mysql/replication"
)

// scanner follows the events of a log, each verified, from bytes on disk or from a server: it is what the archive knows of a log's end.
type scanner struct {
	at        int64 // where the next event begins
	tail      int64 // where the last one begins
	last      header
	checksums bool
	history   history
	sink      func(raw []byte) error // gets each event; nil: nobody does
}

// resume is a scanner at the end that a description tells.
func (e *entry) resume(format []byte) (*scanner, error) {
	checksums, err := checksummed(format)
	if err != nil {
		return nil, err
	}
	done, err := parseGTIDs(e.GTIDAfter)
	if err != nil {
		return nil, err
	}
	return &scanner{at: e.Size, tail: e.Tail, last: header{at: e.Last, kind: replication.EventType(e.Ends)}, checksums: checksums, history: history{done: done}}, nil
}

// event takes the next one, if it is what belongs here.
func (s *scanner) event(raw []byte) error {
	h, err := readHeader(raw)
	if err != nil {
		return err
	}
	if err := sound(raw, h, s.checksums); err != nil {
		return err
	}
	if err := placed(h, s.at); err != nil {
		return err
	}
	if err := s.history.event(h, body(raw, s.checksums)); err != nil {
		return err
	}
	if s.sink != nil {
		if err := s.sink(raw); err != nil {
			return err
		}
	}
	s.last, s.tail, s.at = h, s.at, s.at+h.size
	return nil
}

// tell brings a description up to what the scanner has seen.
func (s *scanner) tell(e *entry) {
	e.Size, e.Tail, e.Last, e.Ends, e.GTIDAfter = s.at, s.tail, s.last.at, byte(s.last.kind), s.history.done.String()
}

// read takes the events of a file up to limit, and stops before the first that is not whole; what is not an event is errDamaged.
func (s *scanner) read(f io.ReaderAt, limit int64) error {
	r := bufio.NewReaderSize(io.NewSectionReader(f, s.at, limit-s.at), 1<<20)
	var raw []byte
	for s.at < limit {
		head, err := r.Peek(headerSize)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		h, err := readHeader(head)
		if err != nil {
			return err
		}
		if h.size > limit-s.at {
			return nil
		}
		if int64(cap(raw)) < h.size {
			raw = make([]byte, h.size+h.size/4)
		}
		if _, err := io.ReadFull(r, raw[:h.size]); errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.event(raw[:h.size]); err != nil {
			return err
		}
	}
	return nil
}

// catchUp finds what the description of an open log lacks: events that arrived since it was written, up to what is synced. What is damaged
// there does not count as archived: an archiver cuts it off, and asks for it again.
func (e *entry) catchUp(dir string) error {
	limit, ok := readMark(dir, e)
	if !ok || limit <= e.Size {
		return nil
	}
	f, s, err := e.open(dir)
	if err == nil {
		defer f.Close()
		err = s.read(f, limit)
	}
	switch {
	case errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	}
	if s != nil {
		s.tell(e)
	}
	return nil
}

// open opens a log's bytes, and puts a scanner where its description ends.
func (e *entry) open(dir string) (*os.File, *scanner, error) {
	f, err := os.OpenFile((&Archive{dir}).Path(e.Log), os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	format, err := known(f, e.Log)
	if err == nil {
		var s *scanner
		if s, err = e.resume(format); err == nil {
			return f, s, nil
		}
	}
	_ = f.Close()
	return nil, nil, err
}

// reachable tells whether the protocol, with its 32 bits, can ask for a position.
func reachable(at int64) bool { return at <= math.MaxUint32 }
