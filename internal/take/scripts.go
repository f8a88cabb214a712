package take

import (
	"fmt"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// stillHeld is a hold that was not released after a good cut: the point stays, and so does the deed.
func (w *window) stillHeld(err error) {
	w.owed = &undo.Stuck{Run: w.Run.ID, Instance: w.Run.Instance, Deed: w.holding.Deed, Err: err}
	w.warn("%v; %s", err, w.owed.Hint())
}

// report takes what a hold has to tell beside its times.
func (w *window) report() {
	if r, ok := w.hold.(database.Reporter); ok {
		w.told = r.Report()
	}
}

// unheld is what a cut is worth over which the application did not stand still.
func (t *taking) unheld() (catalog.Consistency, string) {
	if t.plan.Frozen() {
		return catalog.Filesystem, fmt.Sprintf("the file systems were frozen, but the application was not held: %v", t.told.Unheld)
	}
	return catalog.Crash, fmt.Sprintf("the application was not held, and not everything was frozen: %v", t.told.Unheld)
}
