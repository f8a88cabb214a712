// Package replica makes a new replica from a restore point: a restore that gets an identity of its own, follows a source from the
// point's coordinates, and is waited for until it has caught up.
//
// The copy boots once as the server that it was, so that its recovery can decide every transaction; only then its identity
// is changed. Two servers with one identity throw each other off their source, so the new server_id is asked for at the
// source, claimed on this machine against other runs, and looked at again when the replica is connected.
package replica

import (
	"context"
	"database/sql"
	"os"
	"time"

	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/undo"
)

// The forms of handling the relay logs in the copy.
const (
	Reset = "reset" // forget them and fetch again from the recorded coordinates
	Keep  = "keep"  // go on with those that were copied
)

// DefaultCatchUp is how long to wait for a replica to catch up.
const DefaultCatchUp = 10 * time.Minute

// Request is what a person asks for. Of the restore's fields, Start is implied and InPlace refused; BindAddress "auto" is the
// address of this machine that the source is reached from.
type Request struct {
	restore.Request
	// ServerID is a number, or "auto" (the default).
	ServerID string
	// Source is HOST:PORT; default the recorded source of a replica's point, the instance itself for a source's.
	Source string
	// RelayLogs is Reset (the default) or Keep.
	RelayLogs string
	// CatchUp is how long to wait; default DefaultCatchUp.
	CatchUp time.Duration
	// SourceClientOptionFile has user and password of the replication account; default the account that the copy itself uses.
	SourceClientOptionFile string
	// Claims is a directory where the identities given away on this machine are remembered (STATE/replicas).
	Claims string
}

// Deps is what a replica needs from others.
type Deps = restore.Deps

// Result is the replica.
type Result struct {
	restore.Result
	ServerID   uint32   `json:"server_id"`
	ServerUUID string   `json:"server_uuid,omitempty"`
	Sources    []string `json:"sources"` // HOST:PORT of each channel
	CaughtUp   bool     `json:"caught_up"`
	CatchUpMS  float64  `json:"catch_up_ms"`
}

// Make looks, decides and does.
func Make(ctx context.Context, run *undo.Run, r Request, deps Deps) (*Result, error) {
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

// Do carries out the plan. When it returns a *NotCaughtUp the replica stays, running; after every other error the caller unwinds
// the run.
func Do(ctx context.Context, run *undo.Run, plan *Plan, deps Deps) (*Result, error) {
	m := &making{Plan: plan, job: restore.Begin(run, plan.Restore, deps), deps: deps}
	defer m.letGo()
	if err := m.claimIdentity(ctx); err != nil {
		return nil, err
	}
	if err := m.job.Place(ctx); err != nil {
		return nil, err
	}
	if err := m.job.Configure(ctx); err != nil {
		return nil, err
	}
	if err := m.job.FirstBoot(ctx, m.asOriginal); err != nil {
		return nil, err
	}
	if err := m.changeIdentity(); err != nil {
		return nil, err
	}
	db, err := m.job.StartServer(ctx, restore.Launch{Args: []string{"--" + dashes(plan.Restore.SkipStart())}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	if err := m.follow(ctx, db); err != nil {
		return nil, err
	}
	return m.catchUp(ctx, db)
}

// making is a replica in the making.
type making struct {
	*Plan
	job  *restore.Job
	deps Deps

	held []*os.File // our claims, locked
	uuid string
}

// asOriginal does what can only be done while the copy runs as its original: it reads the accounts, and asks the sources again.
func (m *making) asOriginal(ctx context.Context, db *sql.DB) error {
	if err := m.readAccounts(ctx, db); err != nil {
		return err
	}
	if err := m.confirmIdentity(ctx); err != nil {
		return err
	}
	for i := range m.Channels {
		if c := &m.Channels[i]; m.Request.RelayLogs == Keep && !c.GTID {
			if err := m.drain(ctx, db, c); err != nil {
				return err
			}
		}
	}
	return nil
}
