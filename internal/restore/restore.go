// Package restore turns a restore point into a data directory, and into a running server if asked.
//
// It first looks (Look: read-only), then decides (Decide: pure, with reasons), then acts (Do). Every change is promised in
// the run's ledger before it is made, so that a restore that fails or is killed leaves nothing behind, and never touches
// what it did not create.
//
// The dangerous thing about a copy is that it believes to be its original: its option files, binary log indexes and
// replication metadata name the original's files by absolute path, and a server that starts with them purges, truncates or
// overwrites the files of the living one. So everything is brought inside the new data directory, every such name is
// rewritten, and what cannot be brought in refuses the restore.
package restore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// Request is what a person asks for.
type Request struct {
	Point *catalog.Point
	// Datadir is the new data directory: absent or empty. With InPlace it is the instance's own.
	Datadir string
	// ConfigDir gets my.cnf and the server's tmpdir; default Datadir + ".conf".
	ConfigDir string
	// Start leaves a server running on the copy.
	Start bool
	// Port of that server; 0 means the point's if it is free, else the next free one.
	Port int
	// BindAddress of that server; default 127.0.0.1.
	BindAddress string
	// Server is the server's executable; default the one recorded in the point.
	Server string
	// Account is the user and the client option file that log in to the copy, usually the instance's. Its socket, host and
	// port do not matter.
	Account database.Endpoint
	// Timeout bounds the first boot, crash recovery included; default one hour.
	Timeout time.Duration
	// AcceptPosition makes a copy that stands elsewhere than the point says a warning instead of an error.
	AcceptPosition bool
	// Upgrade accepts a server of a newer series than the point's; it upgrades the copy when it boots.
	Upgrade bool
	// Scratch is a directory, absent, for a server that is gone with its run; with it there is no Datadir and no ConfigDir to say. See
	// WithScratch.
	Scratch string
	// Onward goes on from the point; nil: the copy stays there.
	Onward *Onward `json:"-"`
	// InPlace puts the point in the place of a stopped instance's own data, which are kept aside until the new server answers.
	InPlace bool
}

// Onward is what is done with a copy that has recovered and stands at its point, while it runs as the server that it was, before it is
// shut down.
type Onward struct {
	Args []string // options that this boot needs
	// Do goes on; nil: the copy stays where it is. A *Halt keeps the copy as it is then.
	Do func(context.Context, *Job, *sql.DB) error
	// Note writes down where the copy stands, when it is shut down and about to be kept; nil: nobody wants to know.
	Note func(*Job) error
}

// Halt is an error after which the copy is a proper one all the same: it is shut down and kept, and the error is returned.
type Halt struct{ Err error }

func (h *Halt) Error() string { return h.Err.Error() }
func (h *Halt) Unwrap() error { return h.Err }

// Deps is what a restore needs from others.
type Deps struct {
	// Open opens the cut of one unit for reading.
	Open func(context.Context, snapshot.Ref) (snapshot.Tree, error)
	// Connect opens a pool over the endpoint; it need not have connected yet. Nil: this package's own.
	Connect func(context.Context, database.Endpoint) (*sql.DB, error)
	// StartService starts the instance's own service and returns when the server answers; for InPlace.
	StartService func(context.Context) error
	// StopService stops it again, if InPlace fails after it was started.
	StopService func(context.Context) error
	// StopCommand is what a person would type for it.
	StopCommand string
	// Progress gets events; nil means none are wanted. It must not block.
	Progress func(Event)
	Log      *slog.Logger
}

// Event is progress for people. Which fields count depends on the stage: copying has bytes, recovery a line of the error log.
type Event struct {
	Stage string        `json:"stage"` // place, scratch, server, aside, catch-up
	Text  string        `json:"text"`
	Done  int64         `json:"done,omitempty"`  // bytes
	Total int64         `json:"total,omitempty"` // bytes; 0: unknown
	ETA   time.Duration `json:"eta,omitempty"`
	// LagSeconds is how far a replica is behind; nil: unknown.
	LagSeconds *int64 `json:"lag_seconds,omitempty"`
}

func (d Deps) withDefaults() Deps {
	if d.Connect == nil {
		d.Connect = connect
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return d
}

// Tell passes progress on, if anybody wants it.
func (d Deps) Tell(e Event) {
	if d.Progress != nil {
		d.Progress(e)
	}
}

// Stage says that a stage begins, to the log and to whoever watches.
func (d Deps) Stage(stage, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	d.Log.Info(text, "stage", stage)
	d.Tell(Event{Stage: stage, Text: text})
}

// Result is what there is now.
type Result struct {
	Point      string            `json:"point"`
	Datadir    string            `json:"datadir"`
	OptionFile string            `json:"option_file,omitempty"`
	ErrorLog   string            `json:"error_log,omitempty"`
	Running    bool              `json:"running"`
	PID        int               `json:"pid,omitempty"`
	Socket     string            `json:"socket,omitempty"`
	Port       int               `json:"port,omitempty"`
	Bind       string            `json:"bind_address,omitempty"`
	Position   database.Position `json:"position"`
	Bytes      int64             `json:"bytes"` // that were copied; 0 for an instant clone
	How        string            `json:"how"`   // clone, reflink, copy, fetch; of a scratch server: branch, overlay
	Verified   []string          `json:"verified"`
	Warnings   []string          `json:"warnings"`
	PreparedXA []string          `json:"prepared_xa,omitempty"`
	Aside      string            `json:"aside,omitempty"` // where the old data are, in place
	Connect    string            `json:"connect,omitempty"`
	Begin      string            `json:"start,omitempty"` // the command that starts the server
	Stop       string            `json:"stop,omitempty"`
	Times      []catalog.Stage   `json:"stages"`
}

// Restore looks, decides and does.
func Restore(ctx context.Context, run *undo.Run, r Request, deps Deps) (*Result, error) {
	world, err := Look(ctx, r, deps)
	if err != nil {
		return nil, err
	}
	defer world.Close()
	plan, err := Decide(r, world)
	if err != nil {
		return nil, err
	}
	return Do(ctx, run, plan, deps)
}

// Do carries out the plan. On success it keeps its deeds; after an error the caller unwinds the run.
func Do(ctx context.Context, run *undo.Run, plan *Plan, deps Deps) (*Result, error) {
	j := Begin(run, plan, deps)
	if plan.Request.InPlace {
		return j.inPlace(ctx)
	}
	if err := j.Place(ctx); err != nil {
		return nil, err
	}
	if err := j.Configure(ctx); err != nil {
		return nil, err
	}
	return j.finish(ctx, j.FirstBoot(ctx, j.onward()))
}

// finish starts the server, if asked, and keeps the copy; if the boot before ended with a halt it only keeps it.
func (j *Job) finish(ctx context.Context, booted error) (*Result, error) {
	var halt *Halt
	if booted != nil && !errors.As(booted, &halt) {
		return nil, booted
	}
	if o := j.Plan.Request.Onward; o != nil && o.Note != nil {
		if err := o.Note(j); err != nil {
			return nil, errors.Join(booted, err)
		}
	}
	if halt == nil && j.Plan.Request.Start {
		db, err := j.StartServer(ctx, Launch{})
		if err != nil {
			return nil, err
		}
		_ = db.Close()
	}
	result, err := j.Keep()
	return result, errors.Join(booted, err)
}
