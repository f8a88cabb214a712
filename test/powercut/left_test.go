package powercut

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/undo"
	"github.com/holdstill/holdstill/test/powercut/model"
)

// facts are what must be true after a cut, whatever the disk says: folded from the notes before it.
type facts struct {
	done   map[string]bool // deeds that stand in the world
	kept   map[string]bool // of those, the ones whose entry may be closed
	points map[string][]*catalog.Point
	gone   map[string]bool // runs whose ledger must not be there
}

// fold reads the notes. The list of a point holds every state that it may be found in; nil is "not there".
func fold(notes []any) facts {
	f := facts{map[string]bool{}, map[string]bool{}, map[string][]*catalog.Point{}, map[string]bool{}}
	for _, any := range notes {
		n := any.(note)
		switch n.what {
		case acts:
			f.done[n.name] = true
		case takenBack:
			delete(f.done, n.name)
		case keeping:
			f.kept[n.name] = true
		case putting:
			if len(f.points[n.name]) == 0 {
				f.points[n.name] = []*catalog.Point{nil}
			}
			f.points[n.name] = append(f.points[n.name], n.point)
		case hasPut:
			f.points[n.name] = []*catalog.Point{n.point}
		case forgetting:
			f.points[n.name] = append(f.points[n.name], nil)
		case forgot:
			f.points[n.name] = []*catalog.Point{nil}
		case closedLedger:
			f.gone[n.name] = true
		}
	}
	return f
}

// judge looks at what a cut left with the real code, and says what is wrong.
func judge(ctx context.Context, dir string, f facts) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	runs, store := filepath.Join(dir, "holdstill", "runs"), catalog.Open(filepath.Join(dir, "holdstill", "points"))
	left, err := undo.Leftovers(runs)
	if err != nil {
		complain("the ledgers cannot be listed: %v", err)
	}
	open := map[string]bool{}
	for _, l := range left {
		if l.Err != nil {
			complain("a ledger blocks: %v", l.Err)
		}
		if f.gone[l.Run] {
			complain("the ledger of %s came back", l.Run)
		}
		for _, d := range l.Open {
			open[deedName(d)] = true
		}
	}
	for name := range f.done {
		if !open[name] && !f.kept[name] {
			complain("nobody knows that %s has to be taken back", name)
		}
	}
	wrong = append(wrong, judgePoints(store, f)...)
	return append(wrong, judgeRecovery(ctx, runs, store, left, f)...)
}

func judgePoints(store *catalog.Store, f facts) (wrong []string) {
	points, err := store.List("")
	if err != nil {
		wrong = append(wrong, fmt.Sprintf("half a point: %v", err))
	}
	found := map[string]*catalog.Point{}
	for _, p := range points {
		found[p.ID] = p
	}
	for id := range found {
		if f.points[id] == nil {
			wrong = append(wrong, "a point that nobody recorded: "+id)
		}
	}
	for id, allowed := range f.points {
		same := func(p *catalog.Point) bool { return reflect.DeepEqual(p, found[id]) }
		if !slices.ContainsFunc(allowed, same) || store.Has(id) != (found[id] != nil) {
			wrong = append(wrong, fmt.Sprintf("the point %s is not as it must be: %+v", id, found[id]))
		}
	}
	return wrong
}

// judgeRecovery takes everything back, and wants the world and the catalogue to agree: a cut for each point, and none without.
func judgeRecovery(ctx context.Context, runs string, store *catalog.Store, left []undo.Left, f facts) (wrong []string) {
	registry := undo.Registry{thing: func(_ context.Context, d undo.Deed) error {
		delete(f.done, deedName(d))
		return nil
	}}
	for _, l := range slices.Backward(left) {
		if _, err := l.TakeBack(ctx, registry, store.Has, quiet); err != nil {
			wrong = append(wrong, fmt.Sprintf("cannot recover: %v", err))
		}
	}
	if err := undo.Sweep(runs); err != nil {
		wrong = append(wrong, err.Error())
	}
	if again, err := os.ReadDir(runs); len(again) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		wrong = append(wrong, fmt.Sprintf("left in the directory of the ledgers: %v, %v", again, err))
	}
	for name := range f.done {
		run, isCut := strings.CutSuffix(name, "/cut")
		if !isCut || !store.Has(run) {
			wrong = append(wrong, "left in the world for ever: "+name)
		}
	}
	points, _ := store.List("")
	for _, p := range points {
		if p.Status != catalog.Expired && !f.done[p.ID+"/cut"] {
			wrong = append(wrong, "a point without its cut: "+p.ID)
		}
	}
	return wrong
}

// seed of the dice, from HOLDSTILL_SEED when a failure is to be repeated.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64() >> 32
	if text := os.Getenv("HOLDSTILL_SEED"); text != "" {
		n = must(strconv.ParseUint(text, 10, 64))(t)
	}
	t.Logf("HOLDSTILL_SEED=%d", n)
	return n
}

// cuts judges every cut between two indexes, with some throws of the dice beside the two extremes, and gives the number of states.
func (b *bench) cuts(disk *model.Disk, from int, dice uint64, throws int) int {
	states := 0
	for n := from; n <= disk.Len(); n++ {
		survivors := []model.Survivors{model.Nothing(), model.Everything()}
		for i := range throws {
			survivors = append(survivors, model.Some(dice+uint64(n*throws+i)))
		}
		for _, s := range survivors {
			states++
			b.after(disk.Cut(n, s), func(dir string) {
				for _, complaint := range judge(b.t.Context(), dir, fold(disk.Notes(n))) {
					b.t.Errorf("cut after %d of %d operations, %s: %s", n, disk.Len(), s.Name, complaint)
				}
			})
			if b.t.Failed() {
				b.t.FailNow()
			}
		}
	}
	return states
}

// TestCutAtEveryOperation cuts the power at every operation of a life with successes, failures, stuck runs, recoveries and removals.
func TestCutAtEveryOperation(t *testing.T) {
	b, disk, dice := newBench(t), model.New(), seed(t)
	b.on(disk, func(dir string) { tell(t, disk, dir).whole() })
	states := b.cuts(disk, 0, dice, 10)
	t.Logf("%d operations, %d states judged", disk.Len(), states)
}

// TestCutAfterKillAndRecover kills the process at every operation of a run, lets recover run, and cuts the power at every operation of
// that: what recover sees may never have been synced by the process that died.
func TestCutAfterKillAndRecover(t *testing.T) {
	b, first, dice := newBench(t), model.New(), seed(t)
	b.on(first, func(dir string) {
		s := tell(t, first, dir)
		s.backup("run-1")
		s.fail("run-2")
	})
	states, operations := 0, 0
	for n := range first.Len() + 1 {
		disk := first.At(n)
		b.on(disk, func(dir string) { tell(t, disk, dir).recover() })
		operations += disk.Len() - n
		states += b.cuts(disk, n, dice, 2)
	}
	t.Logf("%d kills, %d operations of recover, %d states judged", first.Len()+1, operations, states)
}
