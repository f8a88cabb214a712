// Package restoretest takes restore points of lab servers by hand, for the tests of everything that begins with a point. It knows no
// make: the tests bring the provider and the way to connect.
package restoretest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// Kit is what a test's points and runs are made with.
type Kit struct {
	Provider snapshot.Provider
	Connect  func(context.Context, database.Endpoint) (database.Server, error)
	Registry undo.Registry
	Ledgers  string // a directory
}

var counter atomic.Int64

// RunID is a new one.
func RunID() string { return fmt.Sprintf("20261122-13%04d-%06x", counter.Add(1), os.Getpid()&0xffffff) }

// Run begins a run that is unwound with the test.
func (k Kit) Run(t testing.TB, instance string) *undo.Run {
	t.Helper()
	run, err := undo.Begin(k.Ledgers, RunID(), instance, k.Registry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// Open opens a cut.
func (k Kit) Open(ctx context.Context, ref snapshot.Ref) (snapshot.Tree, error) {
	return k.Provider.Open(ctx, ref)
}

// Point takes an application-consistent point of a running server: FTWRL around the cut, the applier of a replica stopped before.
// Within the lock it calls held.
func (k Kit) Point(t testing.TB, s *lab.Server, held func()) *catalog.Point {
	t.Helper()
	p, err := k.point(t.Context(), s, held)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (k Kit) point(ctx context.Context, s *lab.Server, held func()) (_ *catalog.Point, err error) {
	server, err := k.Connect(ctx, database.Endpoint{Socket: s.Socket, User: "root"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	facts, err := server.Facts(ctx)
	if err != nil {
		return nil, err
	}
	located, units, err := k.locate(ctx, facts)
	if err != nil {
		return nil, err
	}
	if facts.Role == database.Replica {
		words := [2]string{"STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"}
		if s.Build.NewStatements() {
			words = [2]string{"STOP REPLICA SQL_THREAD", "START REPLICA SQL_THREAD"}
		}
		if err := s.Exec(ctx, words[0]); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.Exec(ctx, words[1])) }()
	}
	id := RunID()
	cut, err := k.Provider.Prepare(ctx, id, units)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cut.Close()) }()
	release, err := lock(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if facts, err = server.Facts(ctx); err != nil {
		return nil, err
	}
	if held != nil {
		held()
	}
	refs, err := cut.Step().Act(ctx)
	if err != nil {
		return nil, err
	}
	return &catalog.Point{
		ID: id, Instance: s.Name, Host: hostname(), TakenAt: time.Now().UTC(), Consistency: catalog.Application,
		Role: facts.Role, Mode: database.Hot, Position: facts.Position, Sources: facts.Channels,
		Server: catalog.Server{Product: facts.Product, Version: facts.Version, ServerID: facts.ServerID,
			ServerUUID: facts.ServerUUID, Port: facts.Port, Address: fmt.Sprintf("%s:%d", s.Bind, s.Port)},
		Snapshot: catalog.Snapshot{Provider: k.Provider.Name(), Refs: refs}, PreparedXA: facts.Prepared,
		Paths: located, Process: facts.Process,
	}, cut.Settle(ctx)
}

// lock holds commits until it is released.
func lock(ctx context.Context, s *lab.Server) (func() error, error) {
	db, err := s.DB()
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	_, err = conn.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK")
	return func() error {
		_, err := conn.ExecContext(ctx, "UNLOCK TABLES")
		return errors.Join(err, conn.Close(), db.Close())
	}, err
}

func (k Kit) locate(ctx context.Context, facts *database.Facts) (out []catalog.Located, units []snapshot.Unit, err error) {
	for _, p := range facts.Paths {
		place, err := mount.Locate(p.Path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		unit, err := k.Provider.Covers(ctx, place)
		if p.Purpose == database.Keyring && (err != nil || !slices.ContainsFunc(units, func(u snapshot.Unit) bool { return u.Key == unit.Key })) {
			out = append(out, catalog.Located{Purpose: p.Purpose, Place: place}) // as a plan does
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p.Path, err)
		}
		out = append(out, catalog.Located{Purpose: p.Purpose, Place: place, Unit: unit.Key})
		if !slices.ContainsFunc(units, func(u snapshot.Unit) bool { return u.Key == unit.Key }) {
			units = append(units, unit)
		}
	}
	return out, units, nil
}

func hostname() string {
	name, _ := os.Hostname()
	return name
}

// DB connects as root to the socket of a server that was restored.
func DB(t testing.TB, socket string) *sql.DB {
	t.Helper()
	s := lab.Server{Socket: socket}
	db, err := s.DB()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// OpenBelow lists the open files of a process that lie below a directory.
func OpenBelow(t testing.TB, pid int, dir string) []string {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		t.Fatalf("cannot see the files of process %d: %v", pid, err)
	}
	var out []string
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, dir+"/") {
			out = append(out, target)
		}
	}
	return out
}

// TakeBack does what `holdstill recover` does after a run was killed.
func (k Kit) TakeBack(t testing.TB) []undo.Deed {
	t.Helper()
	left, err := undo.Leftovers(k.Ledgers)
	if err != nil {
		t.Fatal(err)
	}
	var out []undo.Deed
	for _, l := range left {
		deeds, err := l.TakeBack(context.Background(), k.Registry, func(string) bool { return false }, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("cannot take back: %v", err)
		}
		out = append(out, deeds...)
	}
	return out
}

// Env is what a server of an old build needs in our environment, since a restored one inherits it.
func Env(t *testing.T, b lab.Build) {
	t.Helper()
	for _, e := range b.Env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}
