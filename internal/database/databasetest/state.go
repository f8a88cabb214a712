package databasetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/undo"
)

func (f *fixture) thread(verb, thread, channel string) string {
	switch {
	case f.mariadb():
		return fmt.Sprintf("%s SLAVE '%s' %s", verb, channel, thread)
	case f.build.NewStatements():
		return fmt.Sprintf("%s REPLICA %s FOR CHANNEL '%s'", verb, thread, channel)
	}
	return fmt.Sprintf("%s SLAVE %s FOR CHANNEL '%s'", verb, thread, channel)
}

// threads is which threads of the leaf's channels run, as "name:receiver,applier".
func threads(facts *database.Facts) string {
	var out []string
	for _, c := range facts.Channels {
		out = append(out, fmt.Sprintf("%q:%v,%v", c.Name, c.Receiver, c.Applier))
	}
	return strings.Join(out, " ")
}

func word(run bool) string {
	if run {
		return "START"
	}
	return "STOP"
}

// testReplication goes through the states in which a replica can be found.
func (f *fixture) testReplication(t *testing.T) {
	s := f.server(t, f.leaf)
	for _, found := range []struct{ receiver, applier, east bool }{{true, true, true}, {false, true, false}, {true, false, true}, {false, false, true}} {
		for _, which := range []database.Threads{database.Applier, database.Both} {
			f.bring(t, "", found.receiver, found.applier)
			f.bring(t, "east", found.east, found.east)
			facts := f.facts(t, s)
			before := threads(facts)
			step := s.StopReplication(facts, which)
			channels, err := step.Act(t.Context())
			must(t, err)
			f.checkStopped(t, channels, facts, which)
			must(t, step.Undo(t.Context()))
			f.settle(t, s, before)
		}
	}
	f.testReplicationLater(t, s)
	f.testTempTables(t)
	f.testChannelInError(t)
	f.testGaps(t)
}

func (f *fixture) bring(t *testing.T, channel string, receiver, applier bool) {
	t.Helper()
	must(t, f.leaf.Exec(t.Context(), f.thread(word(receiver), "IO_THREAD", channel), f.thread(word(applier), "SQL_THREAD", channel)))
}

func (f *fixture) checkStopped(t *testing.T, channels []database.Channel, facts *database.Facts, which database.Threads) {
	t.Helper()
	for i, c := range channels {
		if c.Applier || which == database.Both && c.Receiver {
			t.Errorf("after the stop %q runs: receiver %v, applier %v", c.Name, c.Receiver, c.Applier)
		}
		if which == database.Applier && c.Receiver != facts.Channels[i].Receiver {
			t.Errorf("stopping the applier of %q changed its receiver", c.Name)
		}
	}
}

func (f *fixture) settle(t *testing.T, s database.Server, want string) {
	t.Helper()
	if got := threads(f.facts(t, s)); got != want {
		t.Errorf("put back %s, found was %s", got, want)
	}
}

// testReplicationLater: the process dies after the stop, and the server restarts, which starts every thread.
func (f *fixture) testReplicationLater(t *testing.T, s database.Server) {
	f.bring(t, "", true, true)
	f.bring(t, "east", false, false)
	facts := f.facts(t, s)
	before := threads(facts)
	step := s.StopReplication(facts, database.Both)
	_, err := step.Act(t.Context())
	must(t, err)
	must(t, f.leaf.Stop(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f.Undoers[step.Deed.Kind](context.Background(), step.Deed) }() // while the server is down
	time.Sleep(time.Second)
	must(t, f.leaf.Start(t.Context()))
	must(t, <-done)
	f.settle(t, f.server(t, f.leaf), before)
	must(t, f.Undoers[step.Deed.Kind](t.Context(), step.Deed)) // idempotent
	f.settle(t, f.server(t, f.leaf), before)
	f.bring(t, "east", true, true)
}

// testTempTables: an applier with a temporary table of a replicated statement cannot be stopped cleanly.
func (f *fixture) testTempTables(t *testing.T) {
	if f.build.AtLeast(9, 0) && !f.mariadb() {
		if _, err := f.source.Value(t.Context(), "SELECT @@global.binlog_format"); err != nil {
			t.Log("this server has no statement format")
			return
		}
	}
	db, err := f.source.DB()
	must(t, err)
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(t.Context())
	must(t, err)
	defer func() { _ = conn.Close() }()
	for _, st := range []string{"SET SESSION binlog_format = 'STATEMENT'", "CREATE TEMPORARY TABLE d.tmp (a INT)", "INSERT INTO d.tmp VALUES (1)"} {
		if _, err := conn.ExecContext(t.Context(), st); err != nil {
			t.Logf("cannot try temporary tables: %v", err)
			return
		}
	}
	s := f.server(t, f.middle)
	temps := func() int64 { return f.facts(t, s).TempTables }
	time.Sleep(300 * time.Millisecond)
	if temps() == 0 {
		t.Log("the server does not replicate temporary tables here") // GTID mode of 5.7 forbids some, 9.x logs rows
		return
	}
	facts := f.facts(t, s)
	step := s.StopReplication(facts, database.Applier)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := step.Act(ctx); err == nil {
		t.Error("the applier was stopped with a temporary table open")
	} else {
		t.Log(err)
	}
	must(t, step.Undo(t.Context()))
	f.settle(t, s, threads(facts))
	go func() {
		time.Sleep(500 * time.Millisecond)
		_, _ = conn.ExecContext(context.Background(), "DROP TEMPORARY TABLE d.tmp")
	}()
	_, err = step.Act(t.Context())
	must(t, err)
	must(t, step.Undo(t.Context()))
	f.settle(t, s, threads(facts))
}

// testChannelInError: an applier that stopped with an error stays so.
func (f *fixture) testChannelInError(t *testing.T) {
	s := f.server(t, f.leaf)
	must(t, f.other.Exec(t.Context(), "CREATE DATABASE trouble", "CREATE TABLE trouble.t (id INT PRIMARY KEY)"))
	waitFor(t, "the table", func() bool { return f.leaf.Exec(t.Context(), "INSERT INTO trouble.t VALUES (1)") == nil })
	must(t, f.other.Exec(t.Context(), "INSERT INTO trouble.t VALUES (1)"))
	inError := func() bool {
		return slices.ContainsFunc(f.facts(t, s).Channels, func(c database.Channel) bool { return c.Name == "east" && c.LastError != "" && !c.Applier })
	}
	waitFor(t, "the error", inError)
	facts := f.facts(t, s)
	before := threads(facts)
	step := s.StopReplication(facts, database.Both)
	_, err := step.Act(t.Context())
	must(t, err)
	must(t, step.Undo(t.Context()))
	f.settle(t, s, before)
	must(t, f.leaf.Exec(t.Context(), "DELETE FROM trouble.t", f.thread("START", "SQL_THREAD", "east")))
	waitFor(t, "the channel to go on", func() bool { return !inError() })
}

// testGaps: a parallel applier without commit order and GTIDs is brought to a position without gaps.
func (f *fixture) testGaps(t *testing.T) {
	if f.mariadb() {
		return // its parallel applier commits in order
	}
	source := f.start(t, "gapsource", "gtid-mode=OFF", "enforce-gtid-consistency=OFF")
	replica := f.start(t, "gapreplica", "gtid-mode=OFF", "enforce-gtid-consistency=OFF", "loose-slave-parallel-workers=4", "loose-slave-parallel-type=LOGICAL_CLOCK",
		"loose-slave-preserve-commit-order=0", "loose-replica-parallel-workers=4", "loose-replica-preserve-commit-order=0")
	must(t, lab.Replicate(t.Context(), source, replica, lab.ReplicateOptions{}))
	w, err := source.Write(t.Context(), lab.WriterOptions{})
	must(t, err)
	defer w.Stop()
	s := f.server(t, replica)
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		facts := f.facts(t, s)
		step := s.StopReplication(facts, database.Applier)
		channels, err := step.Act(t.Context())
		must(t, err)
		if channels[0].Applier {
			t.Error("the applier runs")
		}
		holes, err := replica.Value(t.Context(), "SELECT MAX(id) - COUNT(*) FROM sampledb.sampletable")
		must(t, err)
		if holes != "0" {
			t.Logf("rows miss on the stopped replica: %s (a writer's ids may commit out of order)", holes)
		}
		must(t, step.Undo(t.Context()))
		f.settle(t, s, threads(facts))
	}
	w.Stop()
	must(t, source.Stop(t.Context()))
	must(t, replica.Stop(t.Context()))
}

func (f *fixture) testReadOnly(t *testing.T) {
	states := [][2]string{{"OFF", ""}, {"ON", ""}}
	if !f.mariadb() {
		states = [][2]string{{"OFF", "OFF"}, {"ON", "OFF"}, {"ON", "ON"}}
	}
	s := f.server(t, f.middle)
	for _, state := range states {
		f.setReadOnly(t, state)
		facts := f.facts(t, s)
		if facts.ReadOnly != state[0] || facts.SuperReadOnly != state[1] {
			t.Fatalf("found %q %q, set was %q", facts.ReadOnly, facts.SuperReadOnly, state)
		}
		for name, back := range map[string]func(undo.Step[database.Position]) error{
			"here": func(step undo.Step[database.Position]) error { return step.Undo(t.Context()) },
			"later": func(step undo.Step[database.Position]) error {
				return f.Undoers[step.Deed.Kind](t.Context(), step.Deed)
			},
		} {
			step := s.SetReadOnly(facts)
			position, err := step.Act(t.Context())
			must(t, err)
			if now := f.facts(t, s); now.ReadOnly != "ON" || !f.mariadb() && now.SuperReadOnly != "ON" || position.File == "" {
				t.Errorf("%s: after the step read_only is %q, %q at %v", name, now.ReadOnly, now.SuperReadOnly, position)
			}
			must(t, back(step))
			must(t, back(step))
			if now := f.facts(t, s); now.ReadOnly != state[0] || now.SuperReadOnly != state[1] {
				t.Errorf("%s: put back %q %q, found was %q", name, now.ReadOnly, now.SuperReadOnly, state)
			}
		}
	}
	f.setReadOnly(t, states[0])
}

func (f *fixture) setReadOnly(t *testing.T, state [2]string) {
	t.Helper()
	if state[1] != "" {
		must(t, f.middle.Exec(t.Context(), "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = "+state[0], "SET GLOBAL super_read_only = "+state[1]))
		return
	}
	must(t, f.middle.Exec(t.Context(), "SET GLOBAL read_only = "+state[0]))
}
