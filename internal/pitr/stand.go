package pitr

import (
	"path/filepath"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
)

// Stand is where a way begins: at a place in a server's log, with what was executed until there. A point stands somewhere, and a copy that was
// restored from it and taken further.
type Stand struct {
	Point *catalog.Point `json:"-"`
	// Copy is the data directory of the copy; "": it is the point itself.
	Copy   string    `json:"-"`
	Server string    `json:"server"` // as Log.Server
	File   string    `json:"file"`
	Offset int64     `json:"offset"`
	Begun  time.Time `json:"begun,omitzero"` // of that log; zero: before Time
	Time   time.Time `json:"time"`           // of the last transaction, or of the point
	Last   string    `json:"last,omitempty"` // the GTID of that transaction, where it is known
	GTID   string    `json:"gtid"`           // what is executed
	Passed string    `json:"passed"`         // GTID, and what was left out as asked
	// Partly tells that a replay from here was cut off: GTID is what is executed, Passed what was when it began, and LeftOut what it should leave out.
	Partly  bool     `json:"partly,omitempty"`
	LeftOut []string `json:"left_out,omitempty"`
}

// StandOf is where a point stands.
func StandOf(p *catalog.Point) Stand {
	at := p.Position
	s := Stand{Point: p, Server: Identity(p.Server.ServerUUID, p.Server.ServerID), File: at.File, Offset: int64(at.Offset), Time: p.TakenAt, GTID: at.GTID, Passed: at.GTID}
	if at.File != "" {
		s.File = filepath.Base(at.File)
	}
	return s
}

func (s Stand) String() string {
	if s.Copy != "" {
		return "the copy " + s.Copy
	}
	return "point " + s.Point.ID
}

func (s Stand) self() string {
	if s.Copy != "" {
		return "the copy"
	}
	return "the point"
}

// earlier is what to do where the moment is before.
func (s Stand) earlier() string {
	if s.Copy != "" {
		return "restore an earlier point"
	}
	return "take an earlier point"
}

// when says what its time is of.
func (s Stand) when() string {
	if s.Copy != "" {
		return "it was replayed until"
	}
	return "it was taken at"
}

// ends notes where the copy stands behind the way.
func (f *finder) ends() error {
	s := f.from
	if f.last != nil {
		h, err := f.head(f.lastLog)
		if err != nil {
			return err
		}
		s.Server, s.File, s.Offset, s.Begun, s.Time, s.Last, s.Partly = f.lastLog.Server, f.lastLog.Name, f.last.End, h.begun, f.last.Time, f.last.GTID, false
	}
	s.LeftOut = nil
	s.GTID, s.Passed = f.way.Executed.String(), f.seen.String()
	f.way.End = s
	return nil
}
