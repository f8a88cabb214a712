package family

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/database"
)

const (
	threadsPause = 20 * time.Millisecond
	startLimit   = 30 * time.Second
	// putBackLimit has room for a STOP that is still under way: MySQL gives up a parallel applier after 60 s.
	putBackLimit = 100 * time.Second
)

// awaitWholeTransaction waits as long as a parallel applier is in a transaction of which the receiver has only a part. MySQL's STOP then
// waits for the rest, while it keeps a receiver that has lost its source from connecting anew: neither gets on, no KILL is heard, and
// after 60 s the applier stops with an error.
func (s *Server) awaitWholeTransaction(ctx context.Context, q querier, channel string) error {
	if s.say.HalfReceived == "" {
		return nil
	}
	half := ""
	for {
		rows, err := query(ctx, q, fmt.Sprintf(s.say.HalfReceived, Quote(channel)))
		if err == nil && len(rows) == 0 {
			return nil
		}
		if err == nil {
			half = rows[0].first("gtid")
			err = pause(ctx, threadsPause)
		}
		if half != "" && ctx.Err() != nil {
			return s.halfReceived(half)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Server) halfReceived(gtid string) error {
	return &hinted{
		fmt.Errorf("%w: the applier is in the middle of the transaction %s, of which the receiver has only a part; it was not told to stop", database.ErrBusy, gtid),
		"see with " + s.say.ReplicaStatus + " that the receiver runs and reaches its source",
	}
}

// stopThread tells a thread to stop, and waits until it has or ctx ends. The statement is not interrupted then: MySQL hears no KILL while
// it waits for the thread, stops it all the same, and fails to write down where. So it is left to end by itself, and whoever puts the
// threads back waits for that (awaitStops).
func (s *Server) stopThread(ctx context.Context, thread, channel string) error {
	p, err := s.pin(ctx)
	if err != nil {
		return err
	}
	statement := s.say.Thread("STOP", thread, channel)
	answer, ended := make(chan error, 1), make(chan struct{})
	s.mu.Lock()
	s.stops = append(s.stops, ended)
	s.mu.Unlock()
	go func() {
		defer close(ended)
		answer <- sayStop(context.WithoutCancel(ctx), p, statement)
		_ = p.Close()
		s.forget(p.id)
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %q was sent, and the thread has not stopped yet: %w", database.ErrBusy, statement, ctx.Err())
	}
}

// sayStop says it again where rpl_stop_replica_timeout ends the statement and not the stop.
func sayStop(ctx context.Context, p *pin, statement string) error {
	for {
		_, err := p.ExecContext(ctx, statement)
		if n := number(err); n != errStopApplier && n != errStopReceiver {
			if err != nil {
				return fmt.Errorf("cannot run %q: %w", statement, err)
			}
			return nil
		}
		time.Sleep(5 * threadsPause) // the receiver may connect anew between two of them
	}
}

func (s *Server) startThread(ctx context.Context, p *pin, thread, channel string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return s.interruptible(ctx, p, s.say.Thread("START", thread, channel))
}

// awaitStops waits until no STOP of replication is under way, ours or that of a run which was killed in the middle of it. Until then a
// thread that is about to stop is shown as running, and a START would wait, and everybody's SHOW REPLICA STATUS behind it.
func (s *Server) awaitStops(ctx context.Context, q querier) error {
	for _, ended := range s.ownStops() {
		select {
		case <-ended:
		case <-ctx.Done(): // what follows says what the server is at
		}
	}
	for looks := 0; looks < 2; looks++ { // what a killed process has sent may be about to begin
		stop, err := pendingStop(ctx, q)
		if err != nil {
			return err
		}
		if stop != nil {
			looks = -1
		}
		if err := pause(ctx, threadsPause); err != nil {
			return stillStopping(stop, err)
		}
	}
	return nil
}

func (s *Server) ownStops() []chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stops
}

func pendingStop(ctx context.Context, q querier) (Row, error) {
	rows, err := query(ctx, q, `SELECT ID AS id, TIME AS time, INFO AS info FROM information_schema.PROCESSLIST
		WHERE INFO LIKE 'STOP SLAVE%' OR INFO LIKE 'STOP REPLICA%' OR INFO LIKE 'STOP ALL SLAVES%' LIMIT 1`)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

func stillStopping(stop Row, err error) error {
	if stop == nil {
		return err
	}
	return &hinted{
		fmt.Errorf("connection %s has said %q for %s s, and the server has not stopped the thread: %w", stop.first("id"), stop.first("info"), stop.first("time"), err),
		"look at SHOW PROCESSLIST for what the replication threads wait for; if they wait for ever, restart the server; then run holdstill recover",
	}
}

// restoreThreads starts exactly those that ran and stops those that did not.
func (s *Server) restoreThreads(ctx context.Context, found []channelState) error {
	ctx, cancel := context.WithTimeout(ctx, putBackLimit)
	defer cancel()
	return again(ctx, func() error {
		_, err := withPin(ctx, s, func(p *pin) (struct{}, error) { return struct{}{}, s.restoreChannels(ctx, p, found) })
		return err
	})
}

func (s *Server) restoreChannels(ctx context.Context, p *pin, found []channelState) error {
	if err := s.awaitStops(ctx, p); err != nil {
		return err
	}
	now, err := s.channels(ctx, p)
	if err != nil {
		return err
	}
	var all []error
	for _, was := range found {
		all = append(all, s.restoreChannel(ctx, p, was, now))
	}
	return errors.Join(all...)
}

func (s *Server) restoreChannel(ctx context.Context, p *pin, was channelState, now []database.Channel) error {
	for _, c := range now {
		if c.Name == was.Name {
			return errors.Join(
				s.restoreThread(ctx, p, receiver, c.Name, was.Receiver, c.Receiver),
				s.restoreThread(ctx, p, applier, c.Name, was.Applier, c.Applier))
		}
	}
	return fmt.Errorf("the replication channel %q is gone", was.Name)
}

func (s *Server) restoreThread(ctx context.Context, p *pin, thread, channel string, was, is bool) error {
	switch {
	case was == is:
		return nil
	case was:
		return s.startThread(ctx, p, thread, channel)
	}
	return s.stopThread(ctx, thread, channel)
}

func verb(run bool) string {
	if run {
		return "START"
	}
	return "STOP"
}

// again tries what puts something back: a deadlock or an interruption that came late is no reason to leave it.
func again(ctx context.Context, try func() error) error {
	const tries = 3
	for n := 1; ; n++ {
		err := try()
		if err == nil || n == tries || pause(ctx, time.Second/2) != nil {
			return err
		}
	}
}
