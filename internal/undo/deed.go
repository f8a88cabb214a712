// Package undo is the ledger: how each change to the world is taken back, written down and synced before the change is made.
//
// A Step is inert until it is promised. Promising appends its Deed to the run's ledger and syncs it; only then may it act.
// A good run takes its own steps back early (a thaw is the undo of a freeze); a failed, killed or rebooted run is taken
// back by the same undo, found through the ledger by a later process.
//
// # The ledger's format
//
// One file a run, STATE/runs/RUN.ledger, mode 0600, a JSON record a line, appended and synced:
//
//	{"op":"run","run":"...","instance":"...","pid":1,"boot":"...","at":"..."}   the first line
//	{"op":"promise","n":1,"deed":{...},"at":"..."}                             deed 1 may happen from now on
//	{"op":"promise","n":3,"over":[1,2],"deed":{...},"at":"..."}                and its undo answers for deeds 1 and 2 too, which are closed
//	{"op":"undone","n":1,"at":"..."}                                           it is taken back
//	{"op":"kept","n":1,"at":"..."}                                             it stays: the catalogue owns it
//
// A last line without its newline was torn by a crash. It is ignored, which is right: nothing acts before its promise is
// synced, and taking back twice does no harm. A file whose deeds are all closed is removed.
package undo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Deed says, in words that another process can act on, how one change is taken back.
// It never holds a secret: ledgers are copied into bug reports.
type Deed struct {
	// Kind chooses the Undoer in the registry of a later process.
	Kind string `json:"kind"`
	// Stage is the step's short name ("hold", "freeze", "cut"): used for fault boundaries, events and logs.
	Stage string `json:"stage"`
	// Title says what the step does to what, for people: "stop the service mariadb".
	Title string `json:"title"`
	// Manual is the command that an operator would type if we cannot take the deed back.
	Manual string `json:"manual,omitempty"`
	// Instance is the one whose server the deed changes, where its run is not that instance's: its next run takes the deed back first.
	Instance string `json:"instance,omitempty"`
	// Args is what the Undoer of this Kind needs.
	Args json.RawMessage `json:"args,omitempty"`
	// UntilCommit marks a deed that belongs to the catalogue once the run's point is recorded (a snapshot):
	// it is taken back only if the run never committed.
	UntilCommit bool `json:"until_commit,omitempty"`
	// Limit is how long taking it back may take, where that is longer than usual.
	Limit time.Duration `json:"limit,omitempty"`
}

// NewDeed builds a Deed and encodes its args; args must be encodable as JSON, else it panics, as that is a programming error.
func NewDeed(kind, stage, title, manual string, args any) Deed {
	raw, err := json.Marshal(args)
	if err != nil {
		panic(fmt.Sprintf("undo: args of %s cannot be encoded: %v", kind, err))
	}
	return Deed{Kind: kind, Stage: stage, Title: title, Manual: manual, Args: raw}
}

// Undoer takes back a deed of one kind, possibly of a run whose process is dead, possibly after a reboot, possibly one
// that never happened or was taken back already: it must look at the world and be idempotent.
type Undoer func(ctx context.Context, d Deed) error

// Registry maps the kind of a deed to its Undoer. There is one visible list of them, in package wire.
type Registry map[string]Undoer

// Step is one change to the world and the way back.
type Step[T any] struct {
	Deed Deed
	// Act makes the change. It may block; if it fails or times out the change may have happened all the same.
	Act func(context.Context) (T, error)
	// Undo takes it back from inside the process that did it, where that knows more than the ledger (a pinned connection,
	// the guard's pipe). Nil means: as a later process would, by the registry.
	Undo func(context.Context) error
	// Over are open deeds that this one's undo takes back too, or not, by what it finds: its promise closes them, so that no undo of theirs
	// takes away what this one needs.
	Over []*Receipt
}
