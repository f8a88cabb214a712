// Package databasetest is the conformance suite of the makes below package database. It runs against real servers, and what it
// believes comes from witnesses of its own: a writer's log of acknowledged commits, the size of the binary log's file, the
// server's list of processes. The grants that it works with are those that docs/grants.md tells people to type.
package databasetest

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/undo"
)

// Make is what is tested.
type Make struct {
	Open     func(context.Context, database.Endpoint) (database.Server, error)
	Undoers  undo.Registry
	Builds   []string
	NoReader bool // the hold waits for no reader (backup stages)
}

// Main lets the test binary serve as the process that is stopped or killed in the middle of a hold.
func Main(m *testing.M, mk Make) {
	if socket := os.Getenv(holderSocket); socket != "" {
		holder(mk, socket)
		return
	}
	m.Run() // the testing package exits with its status
}

// fixture is one chain of servers: source <- middle <- leaf, and leaf also follows other.
type fixture struct {
	Make
	build                       lab.Build
	lab                         *lab.Lab
	source, middle, leaf, other *lab.Server
}

// Run tests a make against every build of it that the matrix names.
func Run(t *testing.T, mk Make) {
	for _, name := range mk.Builds {
		t.Run(name, func(t *testing.T) {
			if chosen := os.Getenv("HOLDSTILL_MATRIX"); chosen != "" && !slices.Contains(strings.Split(chosen, ","), name) {
				t.Skipf("ATTENTION: HOLDSTILL_MATRIX=%s leaves out %s", chosen, name)
			}
			build, err := lab.Find(name)
			must(t, err)
			f := &fixture{Make: mk, build: build, lab: labtest.New(t)}
			t.Run("facts", f.testFacts)
			if f.leaf == nil {
				t.Fatal("the servers are not there")
			}
			t.Run("hold", f.testHold)
			t.Run("replication", f.testReplication)
			t.Run("read only", f.testReadOnly)
			t.Run("grants", f.testGrants)
			t.Run("layout", f.testLayout)
			t.Run("connect", f.testConnect)
		})
	}
}

func (f *fixture) start(t *testing.T, name string, options ...string) *lab.Server {
	t.Helper()
	s, err := f.lab.Server(t.Context(), f.build, lab.Spec{Name: name, Options: options})
	must(t, err)
	must(t, s.Start(t.Context()))
	return s
}

// server opens a lab's server as root over its socket.
func (f *fixture) server(t *testing.T, s *lab.Server) database.Server {
	t.Helper()
	return f.as(t, database.Endpoint{Socket: s.Socket})
}

func (f *fixture) as(t *testing.T, e database.Endpoint) database.Server {
	t.Helper()
	server, err := f.Open(t.Context(), e)
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	return server
}

func (f *fixture) facts(t *testing.T, s database.Server) *database.Facts {
	t.Helper()
	facts, err := s.Facts(t.Context())
	must(t, err)
	return facts
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func waitFor(t *testing.T, what string, true func() bool) {
	t.Helper()
	for range 1000 {
		if true() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("waited twenty seconds for %s", what)
}

func (f *fixture) mariadb() bool { return f.build.Product == lab.MariaDB }
