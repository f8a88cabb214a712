package dump

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// Still says how the commits of a server are held for the moment in which a transaction begins.
type Still struct {
	Server   database.Server
	Begin    func(context.Context) (*undo.Run, func(), error) // a ledger for one hold
	MaxStall time.Duration                                    // the longest time that commits may block
	Patience time.Duration                                    // how long to wait for a moment quiet enough
}

// hold does something while commits are held. A server that is busy now may be quiet in a second: it is tried again, and do is called
// again. What do did counts for nothing if the hold was lost before its end.
func (s Still) hold(ctx context.Context, log *slog.Logger, do func(context.Context, database.Position, []database.Channel) error) error {
	deadline := time.Now().Add(s.Patience)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := s.quiet(ctx)
		if err == nil {
			err = s.once(ctx, log, do)
		}
		if err == nil || !errors.Is(err, database.ErrBusy) && !errors.Is(err, database.ErrHoldLost) {
			return err
		}
		if time.Now().Add(pause).After(deadline) {
			return fmt.Errorf("gave up after %s, nothing is held: %w", s.Patience, err)
		}
		log.Info(fmt.Sprintf("Busy, trying again in %s", pause), "reason", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// quiet refuses while a statement is in the way.
func (s Still) quiet(ctx context.Context) error {
	blockers, err := database.InTheWay(ctx, s.Server, s.MaxStall)
	if err != nil || len(blockers) == 0 {
		return err
	}
	return blockers[0].Busy()
}

// once holds, does, and lets go.
func (s Still) once(ctx context.Context, log *slog.Logger, do func(context.Context, database.Position, []database.Channel) error) (err error) {
	run, done, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	hold, err := s.Server.NewHold(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = hold.Close() }() // the undo has let go, and told
	promised, err := undo.Promise(run, hold.Step(database.Within(s.MaxStall)))
	if err != nil {
		return err
	}
	err = hold.Approach(ctx)
	if err == nil {
		var position database.Position
		if position, err = promised.Act(ctx); err == nil {
			held, cancel := context.WithTimeout(ctx, s.MaxStall)
			err = do(held, position, hold.Channels())
			cancel()
		}
	}
	if err = errors.Join(err, run.Undo(ctx, promised.Receipt)); err == nil {
		w := hold.Window()
		log.Info(fmt.Sprintf("Commits were held for %.1f ms", float64(w.Released.Sub(w.Asked).Microseconds())/1000))
	}
	return err
}
