package cli

import (
	"context"
	"time"

	"github.com/holdstill/holdstill/internal/lock"
)

// instanceHold is an instance's lock that is taken in the middle of a run, when tables change places: no backup cuts there, nor does another restore
// swap. The long work before it needs no lock.
type instanceHold struct {
	app      *app
	instance string
	patience time.Duration

	held *lock.Lock
}

// take waits for whoever has the instance, where the error (lock.ErrBusy) tells who, and takes back what dead runs left of it.
func (h *instanceHold) take(ctx context.Context) error {
	if err := h.await(ctx); err != nil {
		return err
	}
	_, err := h.app.takeBack(ctx, h.instance)
	return err
}

func (h *instanceHold) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.patience)
	defer cancel()
	for h.held == nil {
		held, err := lock.Take(h.app.dirs.Run, h.instance)
		if err == nil {
			h.held = held
			return nil
		}
		if !isBusy(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// release may be called again.
func (h *instanceHold) release() {
	if h.held != nil {
		_ = h.held.Close()
		h.held = nil
	}
}
