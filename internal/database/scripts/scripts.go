// Package scripts holds an application still by pre and post scripts of its own, as Azure's VM backup does: it is the host of their
// contract. The scripts, their configuration (VMSnapshotScriptPluginConfig.json, VMSnapshotPluginHost.conf) and their codes are Azure's;
// docs/scripts.md tells what each field does, and where Azure's own host does less than it says.
//
// The pre scripts are the act of a hold, and the post scripts its undo. So a post runs after every pre that was started, whether that
// succeeded, failed or was killed, and recover runs it if it is we who were killed.
package scripts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// suffix is that of a record's name.
const suffix = ".scripts"

// Server is an application that scripts hold.
type Server struct {
	spec     Spec
	settings *settings
	token    string // names this process's record
	log      *slog.Logger
}

var _ database.Server = (*Server)(nil)

// Open reads the configuration. Its faults are told by Facts, all at once, and keep NewHold from working.
func Open(spec Spec, log *slog.Logger) *Server {
	return &Server{spec: spec, settings: spec.read(), token: strings.ToLower(rand.Text()[:10]), log: log}
}

// Facts tells what the configuration says, and which faults it has.
func (s *Server) Facts(context.Context) (*database.Facts, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	f := &database.Facts{
		Product: database.Scripts, Hostname: host, Role: database.Standalone, Missing: []string{}, Engines: []database.Engine{},
		Scripts: s.settings.scripted(),
	}
	for _, path := range s.spec.Paths {
		f.Paths = append(f.Paths, database.Path{Purpose: database.DataDir, Path: path})
	}
	return f, nil
}

// Blockers are none: only the scripts know what they wait for.
func (*Server) Blockers(context.Context) ([]database.Statement, error) { return nil, nil }

// NewHold prepares a hold.
func (s *Server) NewHold(context.Context) (database.Hold, error) {
	if len(s.settings.faults) > 0 {
		return nil, fmt.Errorf("cannot prepare a hold: %w", s.settings.faults[0])
	}
	h := &hold{server: s}
	for _, p := range s.settings.plugins {
		h.sides = append(h.sides, &side{plugin: p})
	}
	return h, nil
}

// most is the host's limit of a plugin's time, so far as it is less than the plugin's own.
func (*Server) most(p *plugin) time.Duration {
	if p.hostEnds {
		return p.timeout
	}
	return mostTimeout
}

var errNoServer = errors.New("an application that scripts hold has no such thing")

// StopReplication always fails.
func (*Server) StopReplication(*database.Facts, database.Threads) undo.Step[[]database.Channel] {
	return undo.Step[[]database.Channel]{
		Deed: undo.NewDeed(Kind, "replication", "stop replication", "", nil),
		Act:  func(context.Context) ([]database.Channel, error) { return nil, errNoServer },
		Undo: func(context.Context) error { return nil },
	}
}

// SetReadOnly always fails.
func (*Server) SetReadOnly(*database.Facts) undo.Step[database.Position] {
	return undo.Step[database.Position]{
		Deed: undo.NewDeed(Kind, "readonly", "set read-only", "", nil),
		Act:  func(context.Context) (database.Position, error) { return database.Position{}, errNoServer },
		Undo: func(context.Context) error { return nil },
	}
}

// Ping reports whether the configuration can be used.
func (s *Server) Ping(context.Context) error {
	if len(s.settings.faults) > 0 {
		return s.settings.faults[0]
	}
	return nil
}

// Close has nothing to close.
func (*Server) Close() error { return nil }

func (t *tried) tell(log *slog.Logger) {
	if t.told {
		return
	}
	t.told = true
	log = log.With("plugin", t.run.Plugin)
	for _, o := range t.outputs {
		for _, line := range o.lines() {
			log.Info(fmt.Sprintf("The %s script says: %s", t.run.Phase, line))
		}
	}
	if t.err != nil {
		log.Warn(strings.ToUpper(t.run.Phase)+": "+t.err.Error(), "tries", t.run.Tries)
		return
	}
	log.Info(fmt.Sprintf("%s: %s ended well after %.0f ms", strings.ToUpper(t.run.Phase), t.run.Script, t.run.MS), "tries", t.run.Tries)
}
