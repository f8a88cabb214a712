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

// memory marks a deed that changed the server's memory only. A reboot ends the server, and with it the change: what comes up is
// what the option files say, and that is right. To set what was found before the reboot would make a source writable again
// that its option file keeps read-only until somebody has looked, or start threads in spite of skip-slave-start.
type memory struct {
	Boot string `json:"boot,omitempty"`
}

func inMemory() memory { return memory{undo.BootID()} }

func (m memory) lost() bool { return m.Boot != "" && m.Boot != undo.BootID() }

// Undoers take back, in a later process, what a dead one did to a server that one of the dialects speaks to.
func Undoers(dialects ...Dialect) undo.Registry {
	u := undoers(dialects)
	return undo.Registry{LockKind: u.lock, ReplicationKind: u.replication, ReadOnlyKind: u.readOnly}
}

type undoers []Dialect

// patient waits for a server that is coming up.
func (u undoers) patient(ctx context.Context, e database.Endpoint) (*Server, error) {
	end := time.Now().Add(comingUp)
	for {
		s, err := Open(ctx, e, u...)
		if err == nil || !absent(err) {
			return s, err
		}
		if time.Now().After(end) || pause(ctx, time.Second/2) != nil {
			return nil, &hinted{err, "start the server, then run holdstill recover again"}
		}
	}
}

// lock kills the connection that carried a hold if it is still there. Locks die with their connection, so no server, another
// server process or no such connection means that there is nothing to take back.
func (u undoers) lock(ctx context.Context, d undo.Deed) error {
	var args lockArgs
	if err := json.Unmarshal(d.Args, &args); err != nil {
		return fmt.Errorf("cannot read the deed: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, putBackLimit) // a server that does not answer keeps nobody for longer
	defer cancel()
	s, err := Open(ctx, args.Endpoint, u...)
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

func (u undoers) replication(ctx context.Context, d undo.Deed) error {
	var args replicationArgs
	return u.with(ctx, d, &args, &args.memory, &args.Endpoint, func(s *Server) error { return s.restoreThreads(ctx, args.Channels) })
}

func (u undoers) readOnly(ctx context.Context, d undo.Deed) error {
	var args readOnlyArgs
	return u.with(ctx, d, &args, &args.memory, &args.Endpoint, func(s *Server) error { return s.restoreReadOnly(ctx, args) })
}

func (u undoers) with(ctx context.Context, d undo.Deed, args any, m *memory, e *database.Endpoint, work func(*Server) error) error {
	if err := json.Unmarshal(d.Args, args); err != nil {
		return fmt.Errorf("cannot read the deed: %w", err)
	}
	if m.lost() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, comingUp+putBackLimit)
	defer cancel()
	s, err := u.patient(ctx, *e)
	if err != nil {
		return err
	}
	return errors.Join(work(s), s.Close())
}
