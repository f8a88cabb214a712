// Package pitr goes on from a restore point to a later moment, with the binary logs that were written since.
//
// It first looks for the way (Find: it reads every byte that it will need, and changes nothing), so that a moment which cannot be reached is
// refused before anything is touched, with what can be reached instead. Then, while the restored copy runs as the server that it was,
// the transactions are given to the server's own applier as relay logs. These are cut after the last transaction that is wanted, so the
// stop is exact whatever the applier does in parallel; and what a server replicates it replays: rows and statements, XA, LOAD DATA, the
// sql_mode and time zone of each session (docs/decisions/0018).
package pitr

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/holdstill/holdstill/internal/binlog"
)

// Log is one binary log that can be read here.
type Log struct {
	Server string    // what tells one server from another: its UUID, or its id
	Name   string    // as on the server
	Path   string    // of a file that holds it
	Size   int64     // bytes of it that count; they end with a whole event
	Index  string    // of a file that an index for questions about the log can be kept in; "": there is none
	Begun  time.Time // of its first event, where it is known
	Last   time.Time // of its last event, where it is known
	Gap    string    // why it does not follow on the log before it; "": it does
	// Fetch brings the bytes of a log that is kept elsewhere to Path, where they stay until the command ends; nil: they are there. Of such a log
	// Begun and Executed are known without it.
	Fetch    func(context.Context) error
	Executed string // GTIDs that were executed before it
}

// Open opens the bytes of a log, which are fetched first where they are kept elsewhere.
func (l Log) Open(ctx context.Context) (*os.File, error) {
	if l.Fetch != nil {
		if err := l.Fetch(ctx); err != nil {
			return nil, fmt.Errorf("cannot fetch the binary log %s: %w", l.Name, err)
		}
	}
	return os.Open(l.Path)
}

// Logs are the logs of one server or of a topology, in their order.
type Logs struct {
	MariaDB bool
	All     []Log
	// Until is the time until which it is known that there are no other transactions than these; zero: the time of the last one.
	Until time.Time
	// From says where they are from, for messages: the archive of shop, the directory /var/lib/mysql.
	From string
}

// First is when the first of them was begun; zero: nobody knows.
func (l Logs) First() time.Time {
	if len(l.All) == 0 {
		return time.Time{}
	}
	return l.All[0].Begun
}

// Target is the moment to go to. One of Time, GTIDs and File is set.
type Target struct {
	// Time: all transactions that were committed until then, and none after the first that was committed later.
	Time time.Time
	// GTIDs: until all of these are executed.
	GTIDs string
	// File and Offset: all transactions that end there or before.
	File   string
	Offset int64
	// Before leaves out what the target names: the transactions of that time, the GTIDs, the transaction that the offset ends or lies in.
	Before bool
	// Skip are transactions to leave out on the way.
	Skip []string
}

func (t Target) String() string {
	before := ""
	if t.Before {
		before = "just before "
	}
	switch {
	case !t.Time.IsZero():
		return before + t.Time.UTC().Format(time.RFC3339Nano)
	case t.GTIDs != "":
		return before + t.GTIDs
	}
	return fmt.Sprintf("%s%s:%d", before, t.File, t.Offset)
}

// Place is a transaction in a log.
type Place struct {
	File string `json:"file"`
	binlog.Transaction
}

func (p Place) String() string {
	at := fmt.Sprintf("%s:%d-%d of %s", p.File, p.Start, p.End, p.Time.UTC().Format(time.RFC3339Nano))
	if p.GTID != "" {
		return p.GTID + " at " + at
	}
	return "the transaction at " + at
}

// Piece is what is replayed of one log: its events before the first transaction, which describe the file, and the ranges.
type Piece struct {
	Log       Log
	Head      int64  // the first transaction of the file begins there
	Server    uint32 // the id of the server that wrote the file
	Checksums bool   // its events have them
	Ranges    []Range
}

// Range is a part of a file, in bytes; it begins and ends between transactions.
type Range struct{ From, To int64 }

// Way is how to get from the point to the moment.
type Way struct {
	From     Stand
	End      Stand // where the copy stands in the end
	Target   Target
	Pieces   []Piece
	Applied  int    // transactions
	Bytes    int64  // of them
	Stated   bool   // some change rows by statements
	Nameless bool   // some have no GTID
	Last     *Place // the last transaction that is applied; nil: none, the moment is the point's own
	Next     *Place // the first that is not; nil: there is none
	// Near are the transactions of the same second as the target's time, the first of them.
	Near []Place
	// Skipped are those that were left out as asked.
	Skipped []Place
	// Servers are the ids of all servers whose transactions are among them.
	Servers map[uint32]bool
	logs    Logs // all that the way was looked for in

	// Executed is what the server will have executed in the end; empty where the logs have no GTIDs.
	Executed *binlog.GTIDs
}

// near is how many transactions of the boundary second are kept.
const near = 20
