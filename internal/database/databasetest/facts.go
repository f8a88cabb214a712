package databasetest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
)

// multiSource is what MySQL 5.7 wants before it takes a second channel; newer servers know it no more.
var multiSource = []string{"loose-master-info-repository=TABLE", "loose-relay-log-info-repository=TABLE"}

func (f *fixture) testFacts(t *testing.T) {
	other := f.start(t, "other", "loose-gtid-domain-id=7")
	f.checkStandalone(t, other)
	source, middle, leaf := f.start(t, "source"), f.start(t, "middle"), f.start(t, "leaf", multiSource...)
	must(t, source.Exec(t.Context(), "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=InnoDB", "INSERT INTO d.t VALUES (1)"))
	must(t, lab.Replicate(t.Context(), source, middle, lab.ReplicateOptions{GTID: true}))
	must(t, lab.Replicate(t.Context(), middle, leaf, lab.ReplicateOptions{GTID: true}))
	must(t, lab.Replicate(t.Context(), other, leaf, lab.ReplicateOptions{Channel: "east", FromNow: true}))
	f.other, f.source, f.middle, f.leaf = other, source, middle, leaf
	waitFor(t, "the row on the leaf", func() bool {
		n, _ := leaf.Value(t.Context(), "SELECT COUNT(*) FROM d.t")
		return n == "1"
	})
	f.checkSource(t)
	f.checkChain(t)
	f.checkLeaf(t)
}

func (f *fixture) checkStandalone(t *testing.T, s *lab.Server) {
	facts := f.facts(t, f.server(t, s))
	if facts.Role != database.Standalone || facts.Chain || len(facts.Channels) > 0 || len(facts.Replicas) > 0 {
		t.Errorf("a server alone has role %s, chain %v, %d channels, replicas %q", facts.Role, facts.Chain, len(facts.Channels), facts.Replicas)
	}
	if len(facts.Unreadable) > 0 || len(facts.Missing) > 0 || len(facts.MissingFor) > 0 {
		t.Errorf("root cannot read %q and lacks %q %q", facts.Unreadable, facts.Missing, facts.MissingFor)
	}
	if facts.Product != f.build.Product || facts.Port != s.Port || facts.Socket != s.Socket || int(facts.ServerID) != s.ServerID {
		t.Errorf("got %s, port %d, socket %s, id %d", facts.Product, facts.Port, facts.Socket, facts.ServerID)
	}
	f.checkProcess(t, facts.Process, s)
	for _, purpose := range []database.Purpose{database.DataDir, database.SystemSpace, database.RedoLog, database.UndoLog, database.BinaryLog} {
		if path := facts.Path(purpose); !strings.HasPrefix(path, s.Datadir) {
			t.Errorf("%s is at %q, not in %s", purpose, path, s.Datadir)
		}
	}
	for _, p := range facts.Paths {
		if _, err := os.Lstat(p.Path); err != nil && p.Purpose != database.Persisted {
			t.Errorf("%s: %v", p.Purpose, err)
		}
	}
	if file := facts.Position.File; !strings.HasPrefix(file, filepath.Base(facts.BinlogBase)+".") {
		t.Errorf("the position is in %q, the logs are %q", file, facts.BinlogBase)
	}
	f.checkEngines(t, s)
}

func (f *fixture) checkProcess(t *testing.T, p database.Process, s *lab.Server) {
	if p.PID != s.PID() {
		t.Errorf("the process is %d, want %d", p.PID, s.PID())
	}
	if p.Executable != f.build.Server {
		t.Errorf("the program is %s, want %s", p.Executable, f.build.Server)
	}
	if p.UID == 0 || len(p.Arguments) == 0 || len(p.OptionFiles) != 1 || p.OptionFiles[0].Path != s.OptionFile {
		t.Errorf("got uid %d, arguments %q, option files %v", p.UID, p.Arguments, p.OptionFiles)
	}
}

func (f *fixture) checkEngines(t *testing.T, s *lab.Server) {
	server := f.server(t, s)
	if facts := f.facts(t, server); len(facts.Engines) > 0 {
		t.Errorf("an empty server has engines %v", facts.Engines)
	}
	must(t, s.Exec(t.Context(), "CREATE DATABASE `odd name`", "CREATE TABLE `odd name`.m (a INT) ENGINE=MyISAM", "CREATE TABLE `odd name`.i (a INT) ENGINE=InnoDB", "CREATE TABLE `odd name`.h (a INT) ENGINE=MEMORY"))
	facts := f.facts(t, server)
	if !facts.Has("MyISAM") || !facts.Has("InnoDB") || !facts.Has("memory") || len(facts.Engines) != 3 {
		t.Errorf("got engines %v", facts.Engines)
	}
	must(t, s.Exec(t.Context(), "DROP DATABASE `odd name`"))
}

func (f *fixture) checkSource(t *testing.T) {
	facts := f.facts(t, f.server(t, f.source))
	if facts.Role != database.Source || facts.Chain || len(facts.Replicas) != 1 {
		t.Errorf("the source has role %s, chain %v, replicas %q", facts.Role, facts.Chain, facts.Replicas)
	}
}

func (f *fixture) checkChain(t *testing.T) {
	facts := f.facts(t, f.server(t, f.middle))
	if facts.Role != database.Replica || !facts.Chain || len(facts.Channels) != 1 {
		t.Fatalf("the middle has role %s, chain %v, channels %v", facts.Role, facts.Chain, facts.Channels)
	}
	c := facts.Channels[0]
	if c.Name != "" || c.Port != f.source.Port || c.User != "repl" || !c.Receiver || !c.Applier || !c.AutoPosition || int(c.SourceID) != f.source.ServerID {
		t.Errorf("got %+v", c)
	}
	if f.mariadb() == (c.SourceUUID != "") || c.GTID == "" || c.Offset == 0 || c.File == "" {
		t.Errorf("got %+v", c)
	}
}

func (f *fixture) checkLeaf(t *testing.T) {
	time.Sleep(1500 * time.Millisecond) // what runs for a second is told, and replication's threads wait for events that long
	facts := f.facts(t, f.server(t, f.leaf))
	if facts.Role != database.Replica || facts.Chain || len(facts.Channels) != 2 {
		t.Fatalf("the leaf has role %s, chain %v, channels %v", facts.Role, facts.Chain, facts.Channels)
	}
	if len(facts.Running) > 0 {
		t.Errorf("replication's own threads count as statements of users: %+v", facts.Running)
	}
	at := slices.IndexFunc(facts.Channels, func(c database.Channel) bool { return c.Name == "east" })
	if at < 0 || facts.Channels[at].Port != f.other.Port || facts.Channels[at].AutoPosition {
		t.Errorf("got %+v", facts.Channels)
	}
}
