package family

import (
	"context"
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// ReplicationKind is the kind of a deed that stopped replication threads.
const ReplicationKind = "database.replication"

// The threads of a channel, in the words of every version.
const (
	applier  = "SQL_THREAD"
	receiver = "IO_THREAD"
)

const (
	tempTablesPause = 100 * time.Millisecond
	stopLimit       = time.Minute // if the caller's context has no end
)

// channelState is what of a channel is put back.
type channelState struct {
	Name     string `json:"name"`
	Receiver bool   `json:"receiver"`
	Applier  bool   `json:"applier"`
}

type replicationArgs struct {
	memory
	Endpoint database.Endpoint `json:"endpoint"`
	Channels []channelState    `json:"channels"`
}

// StopReplication stops threads of every channel and returns the channels as they then stand.
func (s *Server) StopReplication(facts *database.Facts, which database.Threads) undo.Step[[]database.Channel] {
	args := replicationArgs{memory: inMemory(), Endpoint: s.Endpoint}
	for _, c := range facts.Channels {
		args.Channels = append(args.Channels, channelState{Name: c.Name, Receiver: c.Receiver, Applier: c.Applier})
	}
	what := "the applier"
	if which == database.Both {
		what = "replication"
	}
	title := fmt.Sprintf("stop %s of %s", what, address(s.Endpoint))
	return undo.Step[[]database.Channel]{
		Deed: undo.NewDeed(ReplicationKind, "replication", title, s.manualStart(args.Channels), args),
		Act: func(ctx context.Context) ([]database.Channel, error) {
			return s.stopReplication(ctx, facts, which)
		},
		Undo: func(ctx context.Context) error { return s.restoreThreads(ctx, args.Channels) },
	}
}

func (s *Server) stopReplication(ctx context.Context, facts *database.Facts, which database.Threads) ([]database.Channel, error) {
	ctx, cancel := bounded(ctx, stopLimit)
	defer cancel()
	return withPin(ctx, s, func(p *pin) ([]database.Channel, error) {
		for _, c := range facts.Channels {
			if err := s.stopChannel(ctx, p, facts, c, which); err != nil {
				return nil, fmt.Errorf("cannot stop the replication channel %q: %w", c.Name, err)
			}
		}
		return s.channels(ctx, p)
	})
}

// stopChannel stops only what ran. A channel in error is left as it is.
func (s *Server) stopChannel(ctx context.Context, p *pin, facts *database.Facts, c database.Channel, which database.Threads) error {
	if c.Applier {
		if err := s.stopApplier(ctx, p, facts, c.Name); err != nil {
			return err
		}
	}
	if which == database.Both && c.Receiver {
		return s.stopThread(ctx, receiver, c.Name)
	}
	return nil
}

// stopApplier stops at a place without temporary tables: with statement-based replication they live in the server's
// memory only, and a copy taken while one is open misses it.
func (s *Server) stopApplier(ctx context.Context, p *pin, facts *database.Facts, channel string) error {
	for {
		if err := s.awaitNoTempTables(ctx, p); err != nil {
			return err
		}
		if err := s.awaitWholeTransaction(ctx, p, channel); err != nil {
			return err
		}
		if err := s.stopThread(ctx, applier, channel); err != nil {
			return err
		}
		open, err := s.tempTables(ctx, p)
		if err != nil {
			return err
		}
		if open == 0 {
			return s.closeGaps(ctx, p, channel)
		}
		if err := s.startThread(ctx, p, applier, channel); err != nil {
			return err
		}
	}
}

func (s *Server) awaitNoTempTables(ctx context.Context, p *pin) error {
	for {
		open, err := s.tempTables(ctx, p)
		if err != nil || open == 0 {
			return err
		}
		if err := pause(ctx, tempTablesPause); err != nil {
			return fmt.Errorf("%w: %d temporary tables of replicated statements are open", database.ErrBusy, open)
		}
	}
}

func (s *Server) tempTables(ctx context.Context, q querier) (int64, error) {
	rows, err := query(ctx, q, "SHOW GLOBAL STATUS LIKE "+Quote(s.say.TempTables))
	return pairs(rows).number(s.say.TempTables), err
}

// closeGaps lets a parallel applier without commit order fill what its workers left out, so that one position tells it all.
func (s *Server) closeGaps(ctx context.Context, p *pin, channel string) error {
	if s.say.CloseGaps == nil {
		return nil
	}
	needed, err := s.leavesGaps(ctx, p)
	if err != nil || !needed {
		return err
	}
	if err := s.interruptible(ctx, p, s.say.CloseGaps(channel)); err != nil {
		return fmt.Errorf("cannot close the gaps of the parallel applier: %w", err)
	}
	return s.awaitThread(ctx, p, channel, false)
}

func (s *Server) leavesGaps(ctx context.Context, q querier) (bool, error) {
	rows, err := query(ctx, q, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('gtid_mode', 'slave_parallel_workers', 'replica_parallel_workers', "+
		"'slave_preserve_commit_order', 'replica_preserve_commit_order')")
	v := pairs(rows)
	workers := v.number("replica_parallel_workers", "slave_parallel_workers")
	ordered := IsOn(v.first("replica_preserve_commit_order", "slave_preserve_commit_order"))
	return workers > 0 && !ordered && !v.On("gtid_mode"), err
}

// awaitThread waits until the applier of a channel runs or not.
func (s *Server) awaitThread(ctx context.Context, q querier, channel string, running bool) error {
	for {
		channels, err := s.channels(ctx, q)
		if err != nil {
			return err
		}
		for _, c := range channels {
			if c.Name == channel && c.Applier == running {
				return nil
			}
		}
		if err := pause(ctx, readersBackoff); err != nil {
			return fmt.Errorf("%w: the applier did not come to rest", database.ErrBusy)
		}
	}
}

// manualStart is what an operator types to put the threads back.
func (s *Server) manualStart(channels []channelState) string {
	statements := ""
	for _, c := range channels {
		for _, t := range []struct {
			name string
			ran  bool
		}{{receiver, c.Receiver}, {applier, c.Applier}} {
			statements += s.say.Thread(verb(t.ran), t.name, c.Name) + "; "
		}
	}
	return client(s.Endpoint) + " -e " + shellQuote(statements)
}

func bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// withPin runs work over a connection of its own.
func withPin[T any](ctx context.Context, s *Server, work func(*pin) (T, error)) (T, error) {
	p, err := s.pin(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	defer func() { _ = p.Close(); s.forget(p.id) }()
	return work(p)
}
