// Package snapshottest is the conformance suite that every make of the snapshot seam passes, on real volumes. It needs root.
package snapshottest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// Make is one provider under test.
type Make struct {
	Provider snapshot.Provider
	Undoer   undo.Undoer
	// Dir makes an empty directory that the provider covers, with a strange name if asked for.
	Dir func(t *testing.T, name string) string
	// Outer is a directory of the file system that the cuts are written to; the suite fills it to the brim at its end.
	Outer string
}

// Run runs the suite. The package's TestMain must be Main.
func Run(t *testing.T, m Make) {
	t.Run("the cut is one moment of a writer", m.oneMoment)
	t.Run("undo before and after the act", m.undo)
	t.Run("find by run", m.find)
	t.Run("open leaves nothing", m.open)
	t.Run("an opened tree dies with its process", m.killed)
	t.Run("a branch is written to, and the cut is not", m.branch)
	t.Run("strange names", m.strange)
	t.Run("symlinks and bind mounts", m.indirect)
	t.Run("not covered", m.notCovered)
	t.Run("no space", m.noSpace)
}

// covered makes a directory with a file in it and returns its place and unit.
func (m Make) covered(t *testing.T, name string) (mount.Place, snapshot.Unit) {
	t.Helper()
	dir := m.Dir(t, name)
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte(name), 0o600))
	return m.cover(t, dir)
}

func (m Make) cover(t *testing.T, dir string) (mount.Place, snapshot.Unit) {
	t.Helper()
	place, err := mount.Locate(dir)
	must(t, err)
	unit, err := m.Provider.Covers(t.Context(), place)
	must(t, err)
	return place, unit
}

// cut takes a whole snapshot of one unit, freezing if the unit asks for it.
func (m Make) cut(t *testing.T, run string, unit snapshot.Unit) snapshot.Ref {
	t.Helper()
	c, err := m.Provider.Prepare(t.Context(), run, []snapshot.Unit{unit})
	must(t, err)
	var refs []snapshot.Ref
	frozen(t, unit.Freeze, func() { refs, err = c.Step().Act(t.Context()) })
	must(t, errors.Join(err, c.Settle(t.Context()), c.Close()))
	ref := throughJSON(t, refs[0])
	t.Cleanup(func() { must(t, m.Provider.Destroy(context.Background(), ref)) })
	return ref
}

func (m Make) undo(t *testing.T) {
	_, unit := m.covered(t, "undo")
	c, err := m.Provider.Prepare(t.Context(), "run-a", []snapshot.Unit{unit})
	must(t, err)
	step := c.Step()
	if !step.Deed.UntilCommit {
		t.Error("the deed of a cut must belong to the catalogue after the commit")
	}
	must(t, step.Undo(t.Context())) // promised, killed before it acted
	must(t, c.Close())
	m.expect(t, unit, "run-a", 0)

	for _, how := range []struct{ settled, later bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		c, err := m.Provider.Prepare(t.Context(), "run-a", []snapshot.Unit{unit})
		must(t, err)
		step := c.Step()
		frozen(t, unit.Freeze, func() { _, err = step.Act(t.Context()) })
		must(t, err)
		if how.settled { // before that a cut may have no name yet
			must(t, c.Settle(t.Context()))
			m.expect(t, unit, "run-a", 1)
		}
		if how.later { // by another process, from the ledger, twice
			must(t, c.Close())
			deed := throughJSON(t, step.Deed)
			must(t, m.Undoer(t.Context(), deed))
			must(t, m.Undoer(t.Context(), deed))
		} else {
			must(t, step.Undo(t.Context()))
			must(t, c.Close())
		}
		m.expect(t, unit, "run-a", 0)
	}

	c, err = m.Provider.Prepare(t.Context(), "run-a", []snapshot.Unit{unit})
	must(t, err)
	must(t, c.Close()) // given up without the step
	m.expect(t, unit, "run-a", 0)
}

func (m Make) find(t *testing.T) {
	_, unit := m.covered(t, "find")
	m.expect(t, unit, "", 0)
	one := m.cut(t, "20260102T030405-ab-cd", unit)
	two := m.cut(t, "20260102T030405-ab", unit)
	m.expect(t, unit, "", 2)
	m.expect(t, unit, "20260102T030405", 0)
	found := m.expect(t, unit, two.Run, 1)
	if found[0].Name != two.Name || found[0].Unit != unit.Key || !strings.Contains(found[0].Name, two.Run) {
		t.Errorf("found %+v, want %+v", found[0], two)
	}
	must(t, m.Provider.Destroy(t.Context(), found[0])) // what Find says is enough to destroy
	must(t, m.Provider.Destroy(t.Context(), found[0]))
	if left := m.expect(t, unit, "", 1); left[0].Name != one.Name {
		t.Errorf("the wrong cut was destroyed: %+v is left", left[0])
	}
}

// expect lists the cuts of a run that belong to the unit.
func (m Make) expect(t *testing.T, unit snapshot.Unit, run string, want int) []snapshot.Ref {
	t.Helper()
	all, err := m.Provider.Find(t.Context(), throughJSON(t, unit), run)
	must(t, err)
	var refs []snapshot.Ref
	for _, ref := range all {
		if ref.Unit == unit.Key {
			refs = append(refs, ref)
		}
	}
	if len(refs) != want {
		t.Fatalf("found %d cuts of the run %q, want %d: %+v", len(refs), run, want, refs)
	}
	return refs
}

func (m Make) notCovered(t *testing.T) {
	place, err := mount.Locate("/dev/shm")
	must(t, err)
	_, err = m.Provider.Covers(t.Context(), place)
	if err == nil || !strings.Contains(err.Error(), "/dev/shm") || !strings.Contains(err.Error(), "tmpfs") {
		t.Errorf("the error must tell the place and what it lies on: %v", err)
	}
}

func throughJSON[T any](t *testing.T, in T) (out T) {
	t.Helper()
	raw, err := json.Marshal(in)
	must(t, errors.Join(err, json.Unmarshal(raw, &out)))
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
