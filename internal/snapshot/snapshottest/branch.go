package snapshottest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/holdstill/holdstill/internal/snapshot"
)

// branch wants a writable copy that the cut does not notice, and that is gone after its undo, which a later process could do as well.
func (m Make) branch(t *testing.T) {
	place, unit := m.covered(t, "branch")
	ref := m.cut(t, "run-branch", unit)
	tree, err := m.Provider.Open(t.Context(), ref)
	must(t, err)
	defer tree.Close()
	brancher, ok := tree.(snapshot.Brancher)
	if !ok {
		t.Skip("SKIPPED: this storage cannot branch; a scratch server lies on an overlay then")
	}
	for range 2 { // the second time under the same name
		before := world(t)
		step := brancher.Branch("run-scratch")
		copied, err := step.Act(t.Context())
		must(t, err)
		path, err := copied.Locate(filepath.Join(place.Real, "file"))
		must(t, err)
		expectFile(t, path, "branch")
		must(t, os.WriteFile(path, []byte("changed"), 0o600))
		original, err := tree.Locate(filepath.Join(place.Real, "file"))
		must(t, err)
		expectFile(t, original, "branch")
		must(t, copied.Close())
		deed := throughJSON(t, step.Deed)
		must(t, m.Undoer(t.Context(), deed))
		must(t, m.Undoer(t.Context(), deed))
		m.expect(t, unit, "run-scratch", 0)
		m.expect(t, unit, "run-branch", 1)
		same(t, before)
	}
}
