package undo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var quiet = slog.New(slog.DiscardHandler)

// world is what the deeds of these tests change: each adds its name, and taking it back removes it.
type world struct {
	names  []string
	broken map[string]bool
}

func (w *world) registry() Registry {
	return Registry{"name": func(_ context.Context, d Deed) error { return w.remove(d.Stage) }}
}

func (w *world) remove(name string) error {
	if w.broken[name] {
		return fmt.Errorf("%s is stuck", name)
	}
	w.names = slices.DeleteFunc(w.names, func(n string) bool { return n == name })
	return nil
}

func (w *world) step(name string, fails bool) Step[string] {
	return Step[string]{
		Deed: NewDeed("name", name, "add "+name, "remove "+name, nil),
		Act: func(context.Context) (string, error) {
			w.names = append(w.names, name)
			if fails {
				return "", errors.New("timed out, but it happened")
			}
			return name, nil
		},
	}
}

func begin(t *testing.T, w *world) (*Run, string) {
	t.Helper()
	dir := t.TempDir()
	run, err := Begin(dir, "run-1", "shop", w.registry(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	return run, dir
}

func do(t *testing.T, run *Run, s Step[string]) *Receipt {
	t.Helper()
	_, receipt, err := Do(t.Context(), run, s)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// Invariant 1: a step that failed may have happened.
func TestUndoFollowsIntentNotSuccess(t *testing.T) {
	w := &world{}
	run, _ := begin(t, w)
	do(t, run, w.step("one", false))
	if _, _, err := Do(t.Context(), run, w.step("two", true)); err == nil {
		t.Fatal("the step did not fail")
	}
	if err := run.Unwind(t.Context()); err != nil || len(w.names) != 0 {
		t.Fatalf("left %v, error %v", w.names, err)
	}
}

func TestUnwindStopsForNothingAndSaysWhatIsStuck(t *testing.T) {
	w := &world{broken: map[string]bool{"two": true}}
	run, dir := begin(t, w)
	for _, name := range []string{"one", "two", "three"} {
		do(t, run, w.step(name, false))
	}
	err := run.Unwind(t.Context())
	var stuck *Stuck
	if !errors.As(err, &stuck) || stuck.Hint() != "type: remove two" {
		t.Fatalf("error %v", err)
	}
	if !slices.Equal(w.names, []string{"two"}) {
		t.Fatalf("left %v", w.names)
	}
	if err := run.End(); err != nil {
		t.Fatal(err)
	}
	left, err := Leftovers(dir)
	if err != nil || len(left) != 1 || len(left[0].Open) != 1 || left[0].Open[0].Stage != "two" {
		t.Fatalf("leftovers %+v, error %v", left, err)
	}
	if taken, err := left[0].TakeBack(t.Context(), w.registry(), never, quiet); !errors.As(err, &stuck) || len(taken) > 0 {
		t.Fatalf("told as taken back: %+v, error %v", taken, err)
	}
	w.broken = nil
	if _, err := left[0].TakeBack(t.Context(), w.registry(), never, quiet); err != nil || len(w.names) != 0 {
		t.Fatalf("left %v, error %v", w.names, err)
	}
	mustBeGone(t, dir)
}

// Invariant 2: nothing is written while the ledger is sealed.
func TestSealedLedgerIsNotWritten(t *testing.T) {
	w := &world{}
	run, dir := begin(t, w)
	promised, err := Promise(run, w.step("one", false))
	if err != nil {
		t.Fatal(err)
	}
	before := content(t, dir)
	run.Seal()
	if _, err := promised.Act(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Promise(run, w.step("late", false)); err == nil {
		t.Fatal("a sealed ledger took a promise")
	}
	if err := run.Undo(t.Context(), promised.Receipt); err != nil {
		t.Fatal(err)
	}
	if content(t, dir) != before {
		t.Fatal("the sealed ledger was written")
	}
	if err := errors.Join(run.Unseal(), run.End()); err != nil {
		t.Fatal(err)
	}
	mustBeGone(t, dir)
}

// Invariant 7: what belongs to the catalogue stays if the catalogue has the point, and goes if it has not.
func TestCommittedDeedsAreKept(t *testing.T) {
	for _, committed := range []bool{false, true} {
		w := &world{}
		run, dir := begin(t, w)
		cut := w.step("cut", false)
		cut.Deed.UntilCommit = true
		do(t, run, cut)
		do(t, run, w.step("lock", false))
		if left, err := Leftovers(dir); err != nil || len(left) != 1 {
			t.Fatal(left, err)
		} else if _, err := left[0].TakeBack(t.Context(), w.registry(), never, quiet); !errors.Is(err, ErrAlive) {
			t.Fatalf("a run that lives was taken back: %v", err)
		}
		if err := run.ledger.close(); err != nil { // as kill -9 does
			t.Fatal(err)
		}
		left, err := Leftovers(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := left[0].TakeBack(t.Context(), w.registry(), func(string) bool { return committed }, quiet); err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(w.names, "cut"); got != committed || slices.Contains(w.names, "lock") {
			t.Fatalf("committed=%v, left %v", committed, w.names)
		}
		mustBeGone(t, dir)
	}
}

// A crash can tear the ledger at any byte. What was acted on was promised and synced before, so a whole line more or less
// is all that may be missing, and reading must never fail.
func TestLedgerTornAtEveryByte(t *testing.T) {
	w := &world{}
	run, dir := begin(t, w)
	one := do(t, run, w.step("one", false))
	do(t, run, w.step("two", false))
	if err := run.Undo(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	whole := content(t, dir)
	for n := range len(whole) + 1 {
		torn := t.TempDir()
		if err := os.WriteFile(filepath.Join(torn, "run-1.ledger"), []byte(whole[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		left, err := Leftovers(torn)
		if err != nil || len(left) != 1 {
			t.Fatalf("torn at %d: %+v, %v", n, left, err)
		}
		if _, err := left[0].TakeBack(t.Context(), w.registry(), never, quiet); err != nil {
			t.Fatalf("torn at %d: %v", n, err)
		}
		mustBeGone(t, torn)
	}
}

// A power cut can also lose any sector of the last write and leave what is behind it: that reads as zeros, and is torn like a line
// without its end. Zeros before a promise that was synced later are damage, which is never passed over.
func TestLedgerWithLostSectors(t *testing.T) {
	w := &world{}
	run, dir := begin(t, w)
	do(t, run, w.step("one", false))
	before := len(content(t, dir))
	do(t, run, w.step("two", false))
	whole := content(t, dir)
	for from := range len(whole) - 1 {
		damaged := append([]byte(whole[:from]), bytes.Repeat([]byte{0}, min(32, len(whole)-1-from))...)
		damaged = append(damaged, whole[len(damaged):]...)
		path := filepath.Join(t.TempDir(), "run-1.ledger")
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		left, err := Leftovers(filepath.Dir(path))
		if err != nil || len(left) != 1 {
			t.Fatalf("lost from %d: %+v, %v", from, left, err)
		}
		if damage := from+32 <= before; damage && left[0].Err == nil {
			t.Fatalf("lost from %d, and nobody is told", from)
		}
		if torn := from >= before; torn && (left[0].Err != nil || len(left[0].Open) != 1) {
			t.Fatalf("lost from %d of %d, the last write begins at %d: %+v", from, len(whole), before, left)
		}
	}
}

func TestGoneDeedClosesAndTells(t *testing.T) {
	w := &world{}
	run, dir := begin(t, w)
	s := w.step("lock", false)
	s.Undo = func(context.Context) error { return fmt.Errorf("the connection was killed: %w", ErrGone) }
	r := do(t, run, s)
	if err := run.Undo(t.Context(), r); !errors.Is(err, ErrGone) || r.Open() {
		t.Fatalf("error %v, open %v", err, r.Open())
	}
	if err := run.End(); err != nil {
		t.Fatal(err)
	}
	mustBeGone(t, dir)
}

func TestDeedThatNeverBeganIsOnlyClosed(t *testing.T) {
	w := &world{broken: map[string]bool{"one": true}}
	run, _ := begin(t, w)
	promised, err := Promise(run, w.step("one", false))
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Undo(t.Context(), promised.Receipt); err != nil {
		t.Fatalf("an act that never began was taken back: %v", err)
	}
}

func never(string) bool { return false }

func content(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "run-1.ledger"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustBeGone(t *testing.T, dir string) {
	t.Helper()
	if left, err := ledgersIn(dir); err != nil || len(left) != 0 {
		t.Fatalf("ledgers left: %v, %v", left, err)
	}
}

// One ledger that cannot be read hides no other, is told as stuck, and can be put aside.
func TestUnreadableLedger(t *testing.T) {
	w := &world{}
	run, dir := begin(t, w)
	do(t, run, w.step("one", false))
	if err := run.ledger.close(); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.ledger")
	if err := os.WriteFile(bad, []byte(`{"op":"run","run":"bad","instance":"other"}`+"\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	left, err := Leftovers(dir)
	if err != nil || len(left) != 2 || left[0].Instance != "other" || left[0].Err == nil {
		t.Fatalf("%+v, %v", left, err)
	}
	var stuck *Stuck
	if _, err := left[0].TakeBack(t.Context(), w.registry(), never, quiet); !errors.As(err, &stuck) {
		t.Fatalf("error %v", err)
	}
	if _, err := left[1].TakeBack(t.Context(), w.registry(), never, quiet); err != nil || len(w.names) > 0 {
		t.Fatalf("left %v, error %v", w.names, err)
	}
	if err := left[0].Acknowledge(); err != nil {
		t.Fatal(err)
	}
	mustBeGone(t, dir)
}

// A run that dies while it makes its ledger leaves a file that is nobody's; one that lives has its own locked.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	dead, living := filepath.Join(dir, "dead.ledger.new"), filepath.Join(dir, "living.ledger.new")
	for _, path := range []string{dead, living} {
		if err := os.WriteFile(path, []byte(`{"op":"ru`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := reopenLedger(living)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || !slices.Equal(left, []string{living}) {
		t.Fatalf("left %v, error %v", left, err)
	}
}

// A deed that answers for others closes theirs with its promise, for a later process too, and is taken back even if it never acted.
func TestOneDeedAnswersForOthers(t *testing.T) {
	w := &world{broken: map[string]bool{"three": true}}
	run, dir := begin(t, w)
	over := []*Receipt{do(t, run, w.step("one", false)), do(t, run, w.step("two", false))}
	three := w.step("three", false)
	three.Over = over
	if _, err := Promise(run, three); err != nil {
		t.Fatal(err)
	}
	if err := run.Unwind(t.Context()); err == nil || len(w.names) != 2 {
		t.Errorf("left %v, error %v", w.names, err)
	}
	if err := run.End(); err != nil {
		t.Fatal(err)
	}
	left, err := Leftovers(dir)
	if err != nil || len(left) != 1 || len(left[0].Open) != 1 || left[0].Open[0].Stage != "three" {
		t.Errorf("a later process sees %+v, %v", left, err)
	}
}
