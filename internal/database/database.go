// Package database is the seam to servers: what Holdstill asks of a MySQL or MariaDB server, and the facts it decides by.
// The makes live in the folders below it.
package database

import (
	"context"
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/undo"
)

// ErrHoldLost means that the connection that carried a hold was gone before the hold was released.
var ErrHoldLost = fmt.Errorf("the hold was lost: %w", undo.ErrGone)

// Server is one running server, seen over one account.
type Server interface {
	// Facts reads everything that a plan depends on. It changes nothing.
	Facts(context.Context) (*Facts, error)
	// Blockers lists the statements that a hold would wait for, longest first, at this moment.
	Blockers(context.Context) ([]Statement, error)
	// NewHold opens and prepares the connection that will carry the hold, so that the step itself is only statements.
	NewHold(context.Context) (Hold, error)
	// StopReplication is the step that stops the given threads of every channel cleanly (no open temporary tables, no gaps of a
	// parallel applier) and returns the channels with their exact positions; its undo starts exactly the threads
	// that ran, and stops those that did not (a server restart may have started them).
	StopReplication(facts *Facts, which Threads) undo.Step[[]Channel]
	// SetReadOnly is the step that makes the server refuse writes; its undo puts back the values found.
	SetReadOnly(facts *Facts) undo.Step[Position]
	// Ping reports whether the server answers queries.
	Ping(context.Context) error
	Close() error
}

// Hold keeps a server's commits still over one pinned connection.
type Hold interface {
	// ConnectionID is the server's id of the pinned connection; it is in the ledger.
	ConnectionID() uint64
	// Approach takes what can be taken before commits stall (backup stages, the instance lock); it may wait.
	Approach(context.Context) error
	// Step stalls commits and returns the position at which they stand. Its undo releases the stall and says
	// ErrHoldLost if the connection did not survive until then. ErrBusy means that the stall could not begin.
	Step(Budget) undo.Step[Position]
	// Channels tells where the replication channels stood within the stall (a hot hold of a replica): read with the position.
	Channels() []Channel
	// Window tells the stall as it was measured, after the undo.
	Window() Window
	Close() error
}

// Budget bounds a hold; both times count from the start of its step.
type Budget struct {
	Grant time.Duration // until then it must be granted, else it is given up: others may queue behind it
	Total time.Duration // until then it must be released, else it is broken from outside, whatever hangs
}

// Within is the budget of a hold that may last for d, half of it for the wait.
func Within(d time.Duration) Budget { return Budget{Grant: d / 2, Total: d} }

// Window is when a hold stalled commits, by the monotonic clock of this process.
type Window struct {
	Asked    time.Time // the statement that stalls commits was sent: the first moment a commit could block
	Held     time.Time // it was granted
	Released time.Time // the release was answered: the last moment a commit could block
}

// Mode is how a server is held still.
type Mode string

// The modes. Auto is a wish, not a mode: the plan turns it into one of the others.
const (
	Auto   Mode = "auto"
	Hot    Mode = "hot"    // commits stall around the cut
	Locked Mode = "locked" // as hot, with the applier of a replica stopped before
	Cold   Mode = "cold"   // the service is stopped
)

// Threads chooses replication threads.
type Threads int

const (
	// Applier is the SQL thread with its workers.
	Applier Threads = iota
	// Both are the receiver (I/O thread) and the applier.
	Both
)

// Position is a place in a server's own binary log. Zero if it writes none.
type Position struct {
	File   string `json:"file"`
	Offset uint64 `json:"offset"`
	GTID   string `json:"gtid"`
}

// Channel is one replication source of a server, as the server reports it, never with the password.
type Channel struct {
	Name         string `json:"channel"`
	Host         string `json:"host"`
	Port         int    `json:"port"`
	User         string `json:"user,omitempty"`
	File         string `json:"file"`             // of the source: executed up to here (Relay_Master_Log_File)
	Offset       uint64 `json:"offset"`           // (Exec_Master_Log_Pos)
	GTID         string `json:"gtid"`             // executed set (MySQL) or gtid_slave_pos (MariaDB)
	AutoPosition bool   `json:"auto_position"`    // follows by GTID, which is exact; file and offset may lag for a moment after a crash, or in mode hot
	Receiver     bool   `json:"receiver_running"` // the I/O thread runs (or is connecting)
	Applier      bool   `json:"applier_running"`
	SourceID     uint32 `json:"source_server_id,omitempty"`
	SourceUUID   string `json:"source_server_uuid,omitempty"`
	RelayFile    string `json:"relay_file,omitempty"`
	ReadFile     string `json:"read_file,omitempty"` // of the source: received up to here
	ReadOffset   uint64 `json:"read_offset,omitempty"`
	Lag          *int64 `json:"lag_seconds,omitempty"` // nil: unknown
	Delay        int64  `json:"delay_seconds,omitempty"`
	Filters      string `json:"filters,omitempty"`
	LastError    string `json:"last_error,omitempty"`
	SSL          bool   `json:"ssl,omitempty"`
}

// Statement is something that runs in the server now.
type Statement struct {
	ID      uint64        `json:"id"`
	User    string        `json:"user"`
	State   string        `json:"state"`
	Text    string        `json:"text"` // shortened
	Running time.Duration `json:"running"`
}

// Endpoint says how to reach a server, without any secret: the password stays in the client option file.
type Endpoint struct {
	Product    string `json:"product,omitempty"`
	Socket     string `json:"socket,omitempty"`
	Host       string `json:"host,omitempty"`
	Port       int    `json:"port,omitempty"`
	User       string `json:"user,omitempty"`
	OptionFile string `json:"option_file,omitempty"` // client option file that gives user and password
}
