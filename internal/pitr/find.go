package pitr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/holdstill/holdstill/internal/binlog"
	"github.com/holdstill/holdstill/internal/catalog"
)

// Find looks for the way from a point to a moment. It reads and verifies all that is needed of the logs. A moment that cannot be reached is
// a *Refusal.
func Find(ctx context.Context, point *catalog.Point, logs Logs, t Target) (*Way, error) {
	return FindFrom(ctx, StandOf(point), logs, t)
}

// FindFrom looks for the way from where a copy stands.
func FindFrom(ctx context.Context, from Stand, logs Logs, t Target) (*Way, error) {
	f := &finder{ctx: ctx, from: from, logs: logs, target: t, way: &Way{From: from, End: from, logs: logs, Target: t, Servers: map[uint32]bool{}}}
	if err := f.prepare(); err != nil {
		return nil, err
	}
	start, err := f.start()
	if err != nil {
		return nil, err
	}
	if err := f.later(start); err != nil {
		return nil, err
	}
	if err := f.follow(start); err != nil {
		return nil, err
	}
	if err := f.judge(); err != nil {
		return nil, err
	}
	return f.way, f.ends()
}

// finder walks along the logs.
type finder struct {
	ctx    context.Context
	from   Stand
	logs   Logs
	target Target
	way    *Way

	wanted  *binlog.GTIDs // the target's
	seen    *binlog.GTIDs // walked, or in the point: executed, or left out as asked
	done    *binlog.GTIDs // what a replay that was cut off had executed; nil: there was none
	reached bool          // the end is found
	within  bool          // the target's offset is one where an event begins or ends
	overlap bool          // the logs of this server begin before those of the last one end
	next    string        // the file that follows on the last one, by its own word
	lineage lineage
	last    *Place    // the last transaction that is applied or left out
	lastLog Log       // that has it
	latest  time.Time // of the transactions that the point has, as far as they were seen; zero: none was
}

func (f *finder) prepare() error {
	var err error
	if f.way.Executed, err = binlog.ParseGTIDs(f.logs.MariaDB, f.from.GTID); err != nil {
		return fmt.Errorf("the position of %s: %w", f.from, err)
	}
	if f.seen, err = binlog.ParseGTIDs(f.logs.MariaDB, f.from.Passed); err != nil {
		return fmt.Errorf("the position of %s: %w", f.from, err)
	}
	if f.from.Partly {
		f.done = f.way.Executed.Clone()
	}
	var skip []string
	for _, gtid := range f.target.Skip {
		one, err := binlog.ParseGTIDs(f.logs.MariaDB, gtid)
		if err != nil {
			return f.refuse("%v", err)
		}
		if text := one.String(); !slices.Contains(skip, text) {
			skip = append(skip, text)
		}
	}
	f.target.Skip = skip
	if f.target.GTIDs == "" {
		return nil
	}
	if f.wanted, err = binlog.ParseGTIDs(f.logs.MariaDB, f.target.GTIDs); err != nil {
		return f.refuse("%v", err)
	}
	return f.compareWithPoint()
}

// follow walks from the given log on until the target is reached, and the transaction after it, or the logs end.
func (f *finder) follow(start start) error {
	for i := start.log; i < len(f.logs.All) && f.way.Next == nil && !f.within; i++ {
		l := f.logs.All[i]
		if i > start.log {
			other := l.Server != f.logs.All[i-1].Server
			f.overlap = f.overlap || other
			if why := f.gap(l); why != "" && f.reached {
				return nil
			} else if why != "" {
				return f.refuse("there is a gap in %s before %s: %s", f.logs.From, l.Name, why)
			}
			if other {
				f.joined(l)
			}
			start.offset = 0
		}
		if err := f.walk(l, start.offset); err != nil {
			return err
		}
	}
	if err := f.lineage.parted(f.logs.MariaDB); err != nil {
		return f.refuse("%v", err)
	}
	return nil
}

// joined takes note that the logs of another server begin.
func (f *finder) joined(l Log) {
	if h, err := f.head(l); err == nil && h.executed != nil {
		f.lineage.joins(h.executed, f.seen)
	}
}

// gap tells why there may be transactions between the logs that were walked and the next one; "": there are none, by what the log says was executed
// before it, and by the name of the one that follows, which each log has.
func (f *finder) gap(l Log) string {
	h, err := f.head(l)
	switch {
	case err != nil:
		return err.Error()
	case l.Gap != "":
		return l.Gap
	case h.executed != nil && !f.seen.Has(h.executed):
		return fmt.Sprintf("%s was executed before it, and is not all in the logs until there", h.executed)
	case h.executed != nil && h.executed.Empty() && !f.seen.Empty() && !f.overlap:
		return "the server's logs were reset"
	case f.next != "" && f.next != l.Name && !f.overlap:
		return "the log before it is followed by " + f.next
	}
	return ""
}

// walk reads one log, of which all before from is in the point.
func (f *finder) walk(l Log, from int64) error {
	if f.target.File == l.Name && f.target.Offset == binlog.Start && from == 0 {
		f.reached = true // nothing of it
	}
	file, err := l.Open(f.ctx)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	w := &walker{finder: f, log: l, begin: from}
	f.next = ""
	err = binlog.Scan(io.LimitReader(file, l.Size), w.event)
	if err == nil && !w.stopped && w.end != l.Size {
		err = &binlog.DamagedError{Offset: w.end, Err: fmt.Errorf("it ends there, and should have %d bytes", l.Size)}
	}
	var damaged *binlog.DamagedError
	switch {
	case errors.As(err, &damaged) && f.reached:
		err = nil // it is behind the moment
	case errors.As(err, &damaged):
		return f.refuse("%s (%s) is %v", l.Name, l.Path, damaged)
	}
	if errors.Is(err, errForeign) || err == nil && from > 0 && !w.matched {
		return f.refuse("%s (%s): %v, which stands at offset %d", l.Name, l.Path, errForeign, from)
	}
	if w.piece.Ranges != nil {
		f.way.Pieces = append(f.way.Pieces, w.piece)
	}
	return err
}
