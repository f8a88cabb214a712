package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/undo"
	"github.com/holdstill/holdstill/test/powercut/model"
)

var quiet = slog.New(slog.DiscardHandler)

// note is what the story puts into the disk's log between the operations: what the world and the callers know at that moment.
type note struct {
	what  moment
	name  string         // of the deed (RUN/STAGE), the point or the run
	point *catalog.Point // that is put
}

type moment int

const (
	acts         moment = iota // the deed changes the world now
	takenBack                  // the world is as before the deed
	keeping                    // the deed may be closed as kept from now on
	putting                    // Put is called
	hasPut                     // Put has returned
	forgetting                 // Forget is called
	forgot                     // Forget has returned
	closing                    // the ledger may be gone from now on
	closedLedger               // the ledger is gone for good: End or Acknowledge has returned
)

const thing = "thing"

// story lets the real ledger and catalogue run on a disk.
type story struct {
	t      *testing.T
	disk   *model.Disk
	state  string
	store  *catalog.Store
	broken bool // nothing can be taken back
}

func tell(t *testing.T, disk *model.Disk, dir string) *story {
	state := filepath.Join(dir, "holdstill") // not there yet, as on a new machine
	return &story{t: t, disk: disk, state: state, store: catalog.Open(filepath.Join(state, "points"))}
}

func (s *story) runs() string { return filepath.Join(s.state, "runs") }

func (s *story) note(what moment, name string) { s.disk.Note(note{what: what, name: name}) }

func (s *story) registry() undo.Registry {
	return undo.Registry{thing: func(_ context.Context, d undo.Deed) error { return s.takeBack(deedName(d)) }}
}

func (s *story) takeBack(name string) error {
	if s.broken {
		return errors.New("it is stuck")
	}
	s.note(takenBack, name)
	return nil
}

func deedName(d undo.Deed) string {
	var args struct{ Name string }
	_ = json.Unmarshal(d.Args, &args)
	return args.Name
}

// step is a deed that is too long for one sector.
func (s *story) step(run, stage string) undo.Step[struct{}] {
	name := run + "/" + stage
	deed := undo.NewDeed(thing, stage, "do "+name, "", map[string]string{"Name": name, "Filling": strings.Repeat("detail ", 120)})
	deed.UntilCommit = stage == "cut"
	return undo.Step[struct{}]{Deed: deed, Act: func(context.Context) (struct{}, error) {
		s.note(acts, name)
		if stage == "service" {
			return struct{}{}, errors.New("timed out, but it happened")
		}
		return struct{}{}, nil
	}}
}

func (s *story) begin(id string) *undo.Run {
	return must(undo.Begin(s.runs(), id, "shop", s.registry(), quiet))(s.t)
}

func (s *story) promise(run *undo.Run, stage string) *undo.Promised[struct{}] {
	return must(undo.Promise(run, s.step(run.ID, stage)))(s.t)
}

func (s *story) act(p *undo.Promised[struct{}]) {
	must(p.Act(s.t.Context()))(s.t)
}

func (s *story) undo(run *undo.Run, p *undo.Promised[struct{}]) {
	check(s.t, run.Undo(s.t.Context(), p.Receipt))
}

func (s *story) end(run *undo.Run) {
	s.note(closing, run.ID)
	check(s.t, run.End())
	s.note(closedLedger, run.ID)
}

// pointOf is a point of the size that real ones have.
func pointOf(id string) *catalog.Point {
	return &catalog.Point{ID: id, Instance: "shop", TakenAt: time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC), Status: catalog.Recorded,
		Consistency: catalog.Application, ConsistencyReason: strings.Repeat("because it was held still, ", 60)}
}

// put notes the point before it is written: what the writing fills in is seen through the pointer.
func (s *story) put(p *catalog.Point, put func(*catalog.Point) error) {
	s.disk.Note(note{putting, p.ID, p})
	check(s.t, put(p))
	s.disk.Note(note{hasPut, p.ID, p})
}

// backup does what package take does, in its order.
func (s *story) backup(id string) {
	run := s.begin(id)
	hold, freeze, cut := s.promise(run, "hold"), s.promise(run, "freeze"), s.promise(run, "cut")
	run.Seal()
	s.act(hold)
	s.act(freeze)
	s.act(cut)
	s.undo(run, freeze)
	s.undo(run, hold)
	check(s.t, run.Unseal())
	s.put(pointOf(id), s.store.Record)
	s.note(keeping, id+"/cut")
	check(s.t, run.KeepCommitted())
	s.end(run)
}

// fail is a run that takes everything back.
func (s *story) fail(id string) {
	run := s.begin(id)
	s.act(s.promise(run, "hold"))
	s.act(s.promise(run, "cut"))
	if _, _, err := undo.Do(s.t.Context(), run, s.step(id, "service")); err == nil {
		s.t.Fatal("the step did not fail")
	}
	check(s.t, run.Unwind(s.t.Context()))
	s.end(run)
}

// stick is a run whose process ends with deeds that cannot be taken back, as one that is killed does.
func (s *story) stick(id string) {
	run := s.begin(id)
	hold, cut := s.promise(run, "hold"), s.promise(run, "cut")
	s.act(hold)
	s.act(cut)
	s.undo(run, hold)
	s.act(s.promise(run, "service2"))
	s.broken = true
	if err := run.Unwind(s.t.Context()); err == nil {
		s.t.Fatal("nothing stuck")
	}
	s.broken = false
	check(s.t, run.End())
}

// recover does what the command does.
func (s *story) recover() {
	check(s.t, errors.Join(undo.Sweep(s.runs()), s.store.Settle()))
	for _, left := range must(undo.Leftovers(s.runs()))(s.t) {
		for _, d := range left.Open {
			if d.UntilCommit && s.store.Has(left.Run) {
				s.note(keeping, deedName(d))
			}
		}
		s.note(closing, left.Run)
		must(left.TakeBack(s.t.Context(), s.registry(), s.store.Has, quiet))(s.t)
		s.note(closedLedger, left.Run)
	}
}

func (s *story) acknowledge() {
	for _, left := range must(undo.Leftovers(s.runs()))(s.t) {
		for _, d := range left.Open {
			s.note(takenBack, deedName(d)) // by the person who says so
		}
		s.note(closing, left.Run)
		check(s.t, left.Acknowledge())
		s.note(closedLedger, left.Run)
	}
}

// pin changes a point that is there.
func (s *story) pin(id string) {
	p := must(s.store.Find(id, ""))(s.t)
	p.Pinned = true
	s.put(p, s.store.Put)
}

// remove does what `points rm` does.
func (s *story) remove(id string) {
	p := must(s.store.Find(id, ""))(s.t)
	p.Status = catalog.Expired
	s.put(p, s.store.Put)
	s.note(takenBack, id+"/cut")
	s.note(forgetting, id)
	check(s.t, s.store.Forget(id))
	s.note(forgot, id)
}

// whole is a life with everything in it.
func (s *story) whole() {
	s.backup("run-1")
	s.fail("run-2")
	s.stick("run-3")
	s.backup("run-4")
	s.pin("run-4")
	s.recover()
	s.remove("run-1")
	s.stick("run-5")
	s.acknowledge()
	s.backup("run-6")
}
