package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/retain"
	"github.com/holdstill/holdstill/internal/secret"
	"github.com/holdstill/holdstill/internal/ship"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// shelf is a store that only lists, describes and removes.
type shelf struct {
	repository.Store
	points []repository.Stored
	meddle func() // while it is asked
}

func (s *shelf) Points(context.Context) ([]repository.Stored, error) {
	if s.meddle != nil {
		s.meddle()
	}
	return append([]repository.Stored{}, s.points...), nil
}

func (s *shelf) Describe(_ context.Context, was repository.Stored, d repository.Description) (repository.Stored, error) {
	for i := range s.points {
		if s.points[i].Point == was.Point {
			s.points[i] = repository.Stored{Description: d, Handle: was.Handle + "'"}
			return s.points[i], nil
		}
	}
	return was, repository.ErrNotThere
}

func (s *shelf) Remove(_ context.Context, p repository.Stored) error {
	for i := range s.points {
		if s.points[i].Point == p.Point {
			s.points = append(s.points[:i:i], s.points[i+1:]...)
			break
		}
	}
	return nil
}

func (s *shelf) hold(t *testing.T, p *catalog.Point, pinned bool) {
	t.Helper()
	entry, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	s.points = append(s.points, repository.Stored{Handle: "h-" + p.ID, Description: repository.Description{
		Point: p.ID, Instance: p.Instance, Host: p.Host, TakenAt: p.TakenAt, Pinned: pinned, Entry: entry}})
}

func testApp(t *testing.T) (*app, *bytes.Buffer) {
	t.Setenv(hostname.Variable, "here")
	var said bytes.Buffer
	dir := t.TempDir()
	return &app{stdout: io.Discard, stderr: io.Discard, log: slog.New(slog.NewTextHandler(&said, nil)), dirs: config.Dirs{State: dir + "/state", Run: dir + "/run"}}, &said
}

func cutOf(id, host string) *catalog.Point {
	return &catalog.Point{ID: id, Instance: "shop", Host: host, TakenAt: time.Now().UTC(), Status: catalog.Recorded, Consistency: catalog.Application,
		Snapshot: catalog.Snapshot{Provider: "image", Refs: []snapshot.Ref{{Provider: "image", Name: id + "-0", Run: id}}}}
}

func record(t *testing.T, a *app, p *catalog.Point) {
	t.Helper()
	if err := a.catalogue().Record(p); err != nil {
		t.Fatal(err)
	}
}

func imported(t *testing.T, a *app, s *shelf) imports {
	t.Helper()
	in, err := a.importPoints(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func entryOf(t *testing.T, a *app, id string) *catalog.Point {
	t.Helper()
	p, err := a.catalogue().Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestImportMerges: a pin of another machine arrives, a shipment that a kill kept from being noted too, and the cut stays known.
func TestImportMerges(t *testing.T) {
	a, _ := testApp(t)
	s := &shelf{}
	p := cutOf("20261123-080000-aaaaaa", "here")
	record(t, a, p)
	stored := *p
	stored.Repository, stored.Snapshot.Refs = &catalog.Shipment{Chunk: 65536}, nil
	s.hold(t, &stored, true)

	for _, held := range []bool{true, false} {
		var l *lock.Lock
		if held {
			l, _ = lock.Take(a.dirs.Run, "shop")
		}
		in := imported(t, a, s)
		if held {
			_ = l.Close()
		}
		now := entryOf(t, a, p.ID)
		if in.busy["shop"] != held || now.Pinned == held || (now.Repository == nil) != held {
			t.Fatalf("held %t: %+v, pinned %t, %+v", held, in, now.Pinned, now.Repository)
		}
	}
	now := entryOf(t, a, p.ID)
	if now.Status != catalog.Shipped || now.Repository.ID != "h-"+p.ID || now.Repository.Chunk != 65536 || len(now.Snapshot.Refs) != 1 || now.Sequence != 1 {
		t.Errorf("%+v %+v", now, now.Repository)
	}
	s.points[0].Pinned = false
	s.meddle = func() { // a pin here, while the repository is asked
		now.Pinned, now.Repository.ID = true, "new"
		if err := a.catalogue().Put(now); err != nil {
			t.Fatal(err)
		}
		s.meddle = nil
	}
	now.Pinned = false
	if err := a.catalogue().Put(now); err != nil {
		t.Fatal(err)
	}
	if imported(t, a, s); !entryOf(t, a, p.ID).Pinned {
		t.Error("a pin that is newer than the list is lost")
	}
	s.points = nil
	if imported(t, a, s); entryOf(t, a, p.ID).Repository != nil || entryOf(t, a, p.ID).Status != catalog.Recorded {
		t.Error("it is still said to be in the repository")
	}
	// pinned while nobody here knew that it is there
	s.hold(t, &stored, false)
	if imported(t, a, s); !s.points[0].Pinned || !entryOf(t, a, p.ID).Pinned || entryOf(t, a, p.ID).Repository.ID != s.points[0].Handle {
		t.Errorf("%+v", s.points[0])
	}
}

// TestImportEntersLittle: names that are none are refused, and cuts are this machine's, the point's own, and there.
func TestImportEntersLittle(t *testing.T) {
	a, said := testApp(t)
	s := &shelf{}
	lost, foreign, stray := cutOf("20261123-080000-aaaaaa", "here"), cutOf("20261123-080001-bbbbbb", "there"), cutOf("20261123-080002-cccccc", "here")
	stray.Snapshot.Refs[0].Run = lost.ID
	for _, p := range []*catalog.Point{lost, foreign, stray} {
		s.hold(t, p, false)
	}
	for i, bad := range []string{"../../etc/passwd", "", "a b", strings.Repeat("a", 64)} {
		evil := cutOf(bad, "there")
		s.hold(t, evil, false)
		evil.ID, evil.Instance = fmt.Sprintf("20261123-09000%d-dddddd", i), "../"+bad
		s.hold(t, evil, false)
	}
	if in := imported(t, a, s); in.entered != 3 || strings.Count(said.String(), "left out") != 8 {
		t.Errorf("%+v\n%s", in, said)
	}
	points, err := a.catalogue().List("")
	if err != nil || len(points) != 3 {
		t.Fatalf("%d points, %v", len(points), err)
	}
	for _, p := range points {
		if len(p.Snapshot.Refs) > 0 || p.Status != catalog.Shipped {
			t.Errorf("%+v", p)
		}
	}
	if in := imported(t, a, s); in.entered != 0 {
		t.Errorf("entered again: %+v", in)
	}
}

// TestPruneAsksAgain: what was pinned elsewhere since, and what another run has, is left.
func TestPruneAsksAgain(t *testing.T) {
	a, _ := testApp(t)
	s := &shelf{}
	var verdicts []retain.Verdict
	for i, id := range []string{"20261123-080000-aaaaaa", "20261123-080001-bbbbbb", "20261123-080002-cccccc"} {
		p := cutOf(id, "here")
		p.Snapshot.Refs, p.Status, p.Repository = []snapshot.Ref{}, catalog.Shipped, &catalog.Shipment{ID: "h-" + id}
		if i == 2 {
			p.Instance = "other"
		}
		record(t, a, p)
		s.hold(t, p, i == 1)
		verdicts = append(verdicts, retain.Verdict{Point: p})
	}
	shipping, err := a.shipLock("other")
	if err != nil {
		t.Fatal(err)
	}
	defer shipping.Close()
	stock := &stock{app: a, store: s}
	stock.once.Do(func() {})
	skipped, err := a.carryOut(t.Context(), stock, verdicts, imports{busy: map[string]bool{}})
	if err != nil || len(skipped) != 2 || skipped[verdicts[2].Point.ID] != instanceBusy || !strings.Contains(skipped[verdicts[1].Point.ID], "pinned") {
		t.Errorf("%v, %v", skipped, err)
	}
	if len(s.points) != 2 || a.catalogue().Has(verdicts[0].Point.ID) || !a.catalogue().Has(verdicts[1].Point.ID) {
		t.Errorf("%+v", s.points)
	}
}

// TestLatestIsOurs: what changes a point of another machine wants its id.
func TestLatestIsOurs(t *testing.T) {
	a, _ := testApp(t)
	record(t, a, cutOf("20261123-080000-aaaaaa", "there"))
	var usage usageError
	if _, _, err := a.ownPoint("latest", ""); !errors.As(err, &usage) {
		t.Error(err)
	}
	_, release, err := a.ownPoint("20261123-08", "")
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// TestShippingFailed: whatever the cause, there is one document on stdout and the code is 1, or 3 if the point is below.
func TestShippingFailed(t *testing.T) {
	for _, cause := range []error{lock.ErrBusy, repository.ErrNone, secret.ErrNone, usagef("x"), catalog.ErrNotFound, context.Canceled} {
		err := withHint{onlyHere{fmt.Errorf("point P is recorded on this machine only: %w", cause)}, "ship it"}
		below := fmt.Errorf("%w: P; %w", errBelow, err)
		for want, err := range map[int]error{codeFailed: err, codeBelow: below} {
			for _, asJSON := range []bool{true, false} {
				var stdout, stderr bytes.Buffer
				if code := report(err, asJSON, &stdout, &stderr); code != want || stdout.Len() > 0 || !strings.Contains(stderr.String(), "on this machine only") || !strings.Contains(stderr.String(), "ship it") {
					t.Errorf("%v: %d %s%s", err, code, &stdout, &stderr)
				}
			}
		}
	}
	var stdout, stderr bytes.Buffer
	if code := report(besides{fmt.Errorf("two: %w", lock.ErrBusy)}, true, &stdout, &stderr); code != codeBusy || stdout.Len() > 0 || stderr.Len() == 0 {
		t.Errorf("%d %s%s", code, &stdout, &stderr)
	}
}

// TestNotedLater: a run that keeps the instance does not hold a shipment up for ever.
func TestNotedLater(t *testing.T) {
	a, said := testApp(t)
	p := cutOf("20261123-080000-aaaaaa", "here")
	record(t, a, p)
	held, err := lock.Take(a.dirs.Run, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	defer func(was time.Duration) { lockPatience = was }(lockPatience)
	lockPatience = 300 * time.Millisecond
	now, err := a.noteShipped(t.Context(), p, shippedAs("h"))
	if err != nil || now.Status != catalog.Shipped || now.Repository.ID != "h" || entryOf(t, a, p.ID).Repository != nil {
		t.Errorf("%+v, %v", now, err)
	}
	if strings.Count(said.String(), "Waiting") != 1 || !strings.Contains(said.String(), "noted at the next points list") {
		t.Error(said)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	lockPatience = time.Minute
	if _, err := a.noteShipped(ctx, p, shippedAs("h")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func shippedAs(handle string) *ship.Result {
	return &ship.Result{Shipment: catalog.Shipment{ID: handle}}
}
