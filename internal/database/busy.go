package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrBusy means that a hold could not be had inside its budget, and that nothing was changed: trying again later may work.
var ErrBusy = errors.New("the server is busy")

// InTheWay are the statements that a hold would wait for, with everybody else behind it, longest first. One that has only begun is none of them: it most
// likely ends in a moment, the budget of the hold (maxStall) bounds what it costs if it does not, and on a busy server there is always one.
func InTheWay(ctx context.Context, s Server, maxStall time.Duration) ([]Statement, error) {
	blockers, err := s.Blockers(ctx)
	long := min(maxStall/4, 200*time.Millisecond)
	return slices.DeleteFunc(blockers, func(b Statement) bool { return b.Running < long }), err
}

// Busy is why nothing is held while the statement runs.
func (s Statement) Busy() error {
	return fmt.Errorf("%w: a statement of %s has been running for %s, and a hold would stall everybody behind it: %q", ErrBusy, s.User, s.Running.Round(time.Millisecond), s.Text)
}
