package databasetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
)

// checkLost wants the loss told once, and a second undo that has nothing to do.
func checkLost(t *testing.T, h *taken) {
	t.Helper()
	if err := h.step.Undo(context.Background()); !errors.Is(err, database.ErrHoldLost) {
		t.Errorf("got %v", err)
	} else {
		t.Log(err)
	}
	must(t, h.step.Undo(context.Background()))
	must(t, h.Close())
}

func (f *fixture) testKilled(t *testing.T) {
	w := f.writer(t)
	h, err := hold(t, f.server(t, f.source), 10*time.Second)
	must(t, err)
	must(t, f.source.Exec(t.Context(), fmt.Sprintf("KILL %d", h.ConnectionID())))
	waitForAck(t, w)
	checkLost(t, h)
}

func waitForAck(t *testing.T, w *lab.Writer) {
	t.Helper()
	before := len(w.Seen().Acked)
	waitFor(t, "writers to go on", func() bool { return len(w.Seen().Acked) > before+10 })
}

func (f *fixture) testBudget(t *testing.T) {
	w := f.writer(t)
	h, err := hold(t, f.server(t, f.source), 500*time.Millisecond)
	must(t, err)
	held := time.Now()
	time.Sleep(slack)
	waitForAck(t, w)
	if took := time.Since(held); took > 1500*time.Millisecond {
		t.Errorf("a hold with a budget of half a second lasted %v", took)
	}
	checkLost(t, h)
}

func (f *fixture) testCancelled(t *testing.T) {
	w := f.writer(t)
	h, err := f.server(t, f.source).NewHold(t.Context())
	must(t, err)
	must(t, h.Approach(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	step := h.Step(database.Within(5 * time.Second))
	if _, err := step.Act(ctx); err == nil {
		t.Error("a cancelled hold succeeded")
	}
	waitForAck(t, w)
	must(t, step.Undo(t.Context()))
	must(t, h.Close())
}
