package pitr

import (
	"errors"
	"slices"
	"time"

	"github.com/holdstill/holdstill/internal/binlog"
)

// walker goes through the transactions of one log.
type walker struct {
	*finder
	log     Log
	begin   int64 // what is before is in the point
	group   binlog.Grouper
	piece   Piece
	matched bool  // an event ends where the point stands
	end     int64 // of the last event that was seen
	stopped bool  // by us
}

// errForeign is a log that is not the one that the point was taken with, although it is named so.
var errForeign = errors.New("it is not the log of where the replay begins")

func (w *walker) event(e binlog.Event) error {
	err := w.look(e)
	w.end, w.stopped = e.End, errors.Is(err, binlog.ErrStop)
	return err
}

func (w *walker) look(e binlog.Event) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	w.matched = w.matched || e.End == w.begin
	if e.Start == binlog.Start {
		w.piece.Server, w.piece.Checksums = e.Header.ServerID, e.Checksum
	}
	if w.target.File == w.log.Name && e.Start < w.target.Offset && w.target.Offset < e.End {
		w.within = true
		return binlog.ErrStop
	}
	done, err := w.group.Add(e)
	if err != nil {
		return err
	}
	if w.next, err = binlog.NextFile(e); err != nil {
		return err
	}
	if start, open := w.group.Open(); w.piece.Head == 0 && (open || done != nil) {
		w.piece.Log = w.log
		w.piece.Head = start
	}
	if done != nil && done.End <= w.begin {
		w.inPoint(done.Time)
	}
	switch {
	case done != nil && done.End > w.begin:
		return w.transaction(Place{w.log.Name, *done})
	case done != nil && done.GTID != "" && !w.seen.Empty() && !w.seen.HasOne(done.GTID):
		return errForeign // the point lacks what is before it
	case w.target.File == w.log.Name && w.target.Offset == e.End && e.End >= w.begin:
		w.reached = true // all that ends here was applied
	}
	return nil
}

// inPoint takes note of a transaction that the point has.
func (w *walker) inPoint(at time.Time) {
	if at.After(w.latest) {
		w.latest = at
	}
}

func (w *walker) transaction(p Place) error {
	if w.overlap && w.seen.HasOne(p.GTID) { // another server's log has it again
		if w.way.Applied == 0 {
			w.inPoint(p.Time)
		}
		if err := w.lineage.again(w.logs.MariaDB, p.GTID); err != nil {
			return w.refuse("%v", err)
		}
		return nil
	}
	w.notice(p)
	stop, after := w.stops(p)
	if err := w.applied(p, stop); err != nil {
		return err
	}
	if stop {
		w.reached = true
		if w.way.Next == nil {
			w.way.Next = &p
		}
		if len(w.way.Near) == 0 || !sameSecond(p.Time, w.target.Time) || len(w.way.Near) >= near {
			return binlog.ErrStop
		}
		return nil
	}
	if after {
		w.reached = true
	}
	if err := w.seen.Add(p.GTID); err != nil {
		return err
	}
	w.lineage.walked(w.logs.MariaDB, p.GTID)
	w.last, w.lastLog = &p, w.log
	if w.skipped(p) || w.done != nil && w.done.HasOne(p.GTID) {
		return nil
	}
	return w.apply(p)
}

// applied refuses what an earlier replay, which did not come to its end, has applied or left out, and shall be otherwise now.
func (w *walker) applied(p Place, unwanted bool) error {
	if w.done == nil || !w.done.HasOne(p.GTID) {
		return nil
	}
	skip, skipped := slices.Contains(w.target.Skip, p.GTID), slices.Contains(w.from.LeftOut, p.GTID)
	switch {
	case skipped && !skip && !unwanted:
		return w.refuse("%s was left out as asked: name it again with --skip-gtid, or %s", p, w.from.earlier())
	case unwanted && !skipped || skip && !skipped:
		return w.refuse("%s is applied: %s", p, w.from.earlier())
	}
	return nil
}

// skipped takes note of a transaction that shall be left out, if it is one.
func (w *walker) skipped(p Place) bool {
	if p.GTID == "" || !slices.Contains(w.target.Skip, p.GTID) {
		return false
	}
	w.way.Skipped = append(w.way.Skipped, p)
	return true
}

// apply takes a transaction into the way.
func (w *walker) apply(p Place) error {
	w.way.Applied++
	w.way.Bytes += p.End - p.Start
	w.way.Last = &p
	w.way.Stated = w.way.Stated || p.Stated
	w.way.Nameless = w.way.Nameless || p.GTID == ""
	w.way.Servers[p.ServerID] = true
	if n := len(w.piece.Ranges); n > 0 && w.piece.Ranges[n-1].To == p.Start {
		w.piece.Ranges[n-1].To = p.End
	} else {
		w.piece.Ranges = append(w.piece.Ranges, Range{p.Start, p.End})
	}
	return w.way.Executed.Add(p.GTID)
}

// notice keeps the transactions of the boundary second.
func (w *walker) notice(p Place) {
	if !w.target.Time.IsZero() && sameSecond(p.Time, w.target.Time) && len(w.way.Near) < near {
		w.way.Near = append(w.way.Near, p)
	}
}

func sameSecond(a, b time.Time) bool { return a.Unix() == b.Unix() }

// stops tells whether the way ends before the transaction, or, if after, with it.
func (w *walker) stops(p Place) (before, after bool) {
	t := w.target
	switch {
	case w.reached:
		return true, false
	case !t.Time.IsZero():
		return p.Time.After(t.Time) || t.Before && !p.Time.Before(t.Time), false
	case w.wanted != nil && t.Before:
		return w.wanted.Names(p.GTID), false
	case w.wanted != nil:
		return false, w.completes(p)
	case p.File != t.File:
		return false, false
	case t.Before:
		return p.Start < t.Offset && t.Offset <= p.End || p.Start >= t.Offset, false
	}
	return p.End > t.Offset, p.End == t.Offset
}

// completes tells whether with the transaction all wanted ones are executed.
func (w *walker) completes(p Place) bool {
	if !w.wanted.Names(p.GTID) {
		return false
	}
	all := w.seen.Clone()
	return all.Add(p.GTID) == nil && all.Has(w.wanted)
}
