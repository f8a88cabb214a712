package take

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/service"
	"github.com/holdstill/holdstill/internal/undo"
)

// quiesce does what the mode asks for before the window, and returns how to resume: the same undo that a later process
// would run from the ledger, only early.
func (t *taking) quiesce(ctx context.Context) (resume func(context.Context) error, err error) {
	nothing := func(context.Context) error { return nil }
	switch t.plan.Mode {
	case database.Locked:
		return t.stopApplier(ctx)
	case database.Cold:
		return t.stopServer(ctx)
	}
	return nothing, nil
}

func (t *taking) stopApplier(ctx context.Context) (func(context.Context) error, error) {
	receipt, err := t.stopReplication(ctx, database.Applier)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return t.takeBack(ctx, receipt) }, nil
}

// stopServer stops replication, makes the server read-only, and stops its service.
func (t *taking) stopServer(ctx context.Context) (func(context.Context) error, error) {
	var undone []*undo.Receipt
	if len(t.facts.Channels) > 0 {
		receipt, err := t.stopReplication(ctx, database.Both)
		if err != nil {
			return nil, err
		}
		undone = append(undone, receipt)
	}
	t.heldFor.Asked = time.Now()
	readOnly, err := t.setReadOnly(ctx)
	if err != nil {
		return nil, err
	}
	stopped, err := t.stopService(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.checkTail(); err != nil {
		return nil, err
	}
	undone = append(undone, readOnly, stopped)
	return func(ctx context.Context) error {
		for i := len(undone) - 1; i >= 0; i-- {
			if err := t.takeBack(ctx, undone[i]); err != nil {
				return err
			}
		}
		t.heldFor.Released = time.Now()
		return nil
	}, nil
}

func (t *taking) takeBack(ctx context.Context, r *undo.Receipt) error {
	t.Log.Info("POST: undo: "+r.Deed.Title, "stage", r.Deed.Stage)
	return t.stage("undo "+r.Deed.Stage, func() error { return t.Run.Undo(ctx, r) })
}

func (t *taking) stopReplication(ctx context.Context, which database.Threads) (*undo.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, t.plan.Policy.Patience)
	defer cancel()
	begun := time.Now()
	step := t.Server.StopReplication(t.facts, which)
	t.Log.Info("PRE: "+step.Deed.Title, "stage", step.Deed.Stage)
	channels, receipt, err := undo.Do(ctx, t.Run, step)
	t.note(step.Deed.Stage, begun, time.Now())
	if err != nil {
		return nil, err
	}
	t.sources = channels
	for _, c := range channels {
		t.Log.Info(fmt.Sprintf("Replication from %s:%d stands at %s:%d", c.Host, c.Port, c.File, c.Offset), "gtid", c.GTID)
	}
	return receipt, nil
}

func (t *taking) setReadOnly(ctx context.Context) (*undo.Receipt, error) {
	begun := time.Now()
	step := t.Server.SetReadOnly(t.facts)
	t.Log.Info("PRE: "+step.Deed.Title, "stage", step.Deed.Stage)
	position, receipt, err := undo.Do(ctx, t.Run, step)
	t.note(step.Deed.Stage, begun, time.Now())
	t.position = position
	return receipt, err
}

// ServiceArgs is the deed of a stopped service: how it is started, and how one knows that it is up.
type ServiceArgs struct {
	Service  service.Service   `json:"service"`
	Server   service.Process   `json:"server"` // that was running
	Boot     string            `json:"boot"`   // in which it was
	Endpoint database.Endpoint `json:"endpoint"`
}

// ServiceKind is the kind of the deed that starts a service again.
const ServiceKind = "service"

func (t *taking) stopService(ctx context.Context) (*undo.Receipt, error) {
	s, server := *t.plan.Service, service.ProcessOf(t.facts.Process.PID)
	s.Mark = filepath.Join(t.RunDir, t.Run.ID+".stop")
	begun := time.Now()
	deed := undo.NewDeed(ServiceKind, "service", "stop "+s.Title(), s.StartCommand(), ServiceArgs{Service: s, Server: server, Boot: undo.BootID(), Endpoint: t.Endpoint})
	deed.Limit = s.Timeout + time.Minute
	t.Log.Info("PRE: "+deed.Title, "stage", deed.Stage)
	_, receipt, err := undo.Do(ctx, t.Run, undo.Step[struct{}]{
		Deed: deed,
		Act: func(ctx context.Context) (struct{}, error) {
			if !server.Lives() { // somebody restarted it: it takes writes again, and its applier may run
				return struct{}{}, fmt.Errorf("the server that was made read-only (process %d) has ended, and what was set in it with it", server.PID)
			}
			return struct{}{}, s.Down(ctx, server)
		},
	})
	t.note(deed.Stage, begun, time.Now())
	return receipt, err
}

// UndoService starts a service that a run, perhaps one of a dead process, has stopped, and waits until its server answers.
func UndoService(ping func(context.Context, database.Endpoint) error) undo.Undoer {
	return func(ctx context.Context, d undo.Deed) error {
		var a ServiceArgs
		if err := json.Unmarshal(d.Args, &a); err != nil {
			return errors.Join(errors.New("the deed of the service cannot be read"), err)
		}
		if a.Boot != undo.BootID() { // numbers and start ticks come again, above all in a boot that does the same things
			a.Server = service.Process{}
		}
		defer os.Remove(a.Service.Mark)
		return a.Service.Up(ctx, a.Server, func(ctx context.Context) error { return ping(ctx, a.Endpoint) })
	}
}
