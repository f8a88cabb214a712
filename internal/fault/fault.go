// Package fault stops the program at a named boundary, so that tests can show what a crash there leaves behind.
// It does nothing unless the binary was built with the tag "fault".
//
// HOLDSTILL_FAULT=BOUNDARY:KIND[:N] acts at the Nth passage (default 1): "kill" sends SIGKILL to ourselves, "error"
// returns ErrInjected, "enospc" and "erofs" return it as the error of a disk that is full or has become read-only, "hang" never
// returns, "sleep" returns after three seconds, "pause" returns when the file that HOLDSTILL_FAULT_GATE names is gone (at most
// two minutes later), so that a campaign can do to the world what it likes meanwhile.
package fault

import "errors"

// ErrInjected is what a boundary returns for the kind "error".
var ErrInjected = errors.New("injected fault")

// stages are the names of all undo steps; each has the five boundaries of its life.
var stages = []string{
	"replication", "readonly", "service", "hold", "freeze", "cut", // a backup
	"place", "aside", "branch", "scratch", "server", "config", // a restore, a replica, a scratch server
	"staging", "schema", "near", "checkpoint", "swap", // tables in the place of others
}

var moments = []string{"promise", "act", "acted", "undo", "undone"}

// others are boundaries that are no step's.
var others = []string{"facts.read", "ledger.begun", "ledger.append", "cut.finished", "record.write", "record.written", "keep.written",
	"ship.begun", "ship.sent", "ship.committed", "remove.marked", "remove.unlisted", "prune.dropped",
	"tables.loaded", "tables.copied", "tables.checked", "finish.unbound", "finish.trigger", "finish.rested", "finish.bound",
	"binlog.sent", "binlog.committed", "binlog.appended",
	"dump.begun", "dump.held", "dump.snapshot", "dump.noted", "dump.manifest", "load.begun", "load.half", "load.noted", "load.moved"}

// Boundaries lists every place where a fault can be injected.
func Boundaries() []string {
	var out []string
	for _, s := range stages {
		for _, m := range moments {
			out = append(out, s+"."+m)
		}
	}
	return append(out, others...)
}
