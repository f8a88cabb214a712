package family

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// comingUp is how long a later process waits for a server that starts at this moment (after a reboot, after our own start of the
// service) before it says that the server is down.
const comingUp = 30 * time.Second

// startSlack is how far two computations of a server's start may lie apart: both are whole seconds.
const startSlack = 3 * time.Second

type lockArgs struct {
	Endpoint   database.Endpoint `json:"endpoint"`
	Connection uint64            `json:"connection"`
	Started    time.Time         `json:"server_started"`
	User       string            `json:"user"`
}

// Opener connects to a server of whichever product answers.
type Opener func(context.Context, database.Endpoint) (database.Server, error)

// UndoLock takes back, in a later process, the hold of a dead one.
func UndoLock(open Opener) undo.Undoer { return open.undoLock }

// UndoReplication puts back, in a later process, the replication threads as they were found.
func UndoReplication(open Opener) undo.Undoer { return open.undoReplication }

// UndoReadOnly puts back, in a later process, the values of read_only and super_read_only.
func UndoReadOnly(open Opener) undo.Undoer { return open.undoReadOnly }

// server opens one of this family.
func (open Opener) server(ctx context.Context, e database.Endpoint) (*Server, error) {
	s, err := open(ctx, e)
	if err != nil {
		return nil, err
	}
	own, ok := s.(*Server)
	if !ok {
		return nil, joinClose(fmt.Errorf("cannot take back what was done to %s: it is served by a %T now", address(e), s), s)
	}
	return own, nil
}

// patient waits for a server that is coming up.
func (open Opener) patient(ctx context.Context, e database.Endpoint) (*Server, error) {
	end := time.Now().Add(comingUp)
	for {
		s, err := open.server(ctx, e)
		if err == nil || !absent(err) {
			return s, err
		}
		if time.Now().After(end) || pause(ctx, time.Second/2) != nil {
			return nil, &hinted{err, "start the server, then run holdstill recover again"}
		}
	}
}

// undoLock kills the connection that carried a hold if it is still there. Locks die with their connection, so no server, another
// server process or no such connection means that there is nothing to take back.
func (open Opener) undoLock(ctx context.Context, d undo.Deed) error {
	var args lockArgs
	if err := json.Unmarshal(d.Args, &args); err != nil {
		return fmt.Errorf("cannot read the deed: %w", err)
	}
	s, err := open.server(ctx, args.Endpoint)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return s.breakLock(ctx, args)
}

func (s *Server) breakLock(ctx context.Context, args lockArgs) error {
	now, err := started(ctx, s.db)
	if err != nil {
		return err
	}
	if now.Sub(args.Started).Abs() > startSlack {
		return nil // another run of the server: its ids mean others
	}
	rows, err := query(ctx, s.db, fmt.Sprintf("SELECT USER AS user FROM information_schema.PROCESSLIST WHERE ID = %d", args.Connection))
	if err != nil || merge(rows)["user"] != args.User {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	return killAndWait(ctx, s.db, args.Connection)
}

func (open Opener) undoReplication(ctx context.Context, d undo.Deed) error {
	var args replicationArgs
	return open.with(ctx, d, &args, &args.Endpoint, func(s *Server) error { return s.restoreThreads(ctx, args.Channels) })
}

func (open Opener) undoReadOnly(ctx context.Context, d undo.Deed) error {
	var args readOnlyArgs
	return open.with(ctx, d, &args, &args.Endpoint, func(s *Server) error { return s.restoreReadOnly(ctx, args) })
}

func (open Opener) with(ctx context.Context, d undo.Deed, args any, e *database.Endpoint, work func(*Server) error) error {
	if err := json.Unmarshal(d.Args, args); err != nil {
		return fmt.Errorf("cannot read the deed: %w", err)
	}
	s, err := open.patient(ctx, *e)
	if err != nil {
		return err
	}
	return errors.Join(work(s), s.Close())
}
