package pitr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdstill/holdstill/internal/binlog"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/restore"
)

// Find looks for the way from a point to a moment. It reads and verifies all that is needed of the logs. A moment that cannot be reached is
// a *Refusal.
func Find(ctx context.Context, point *catalog.Point, logs Logs, t Target) (*Way, error) {
	f := &finder{ctx: ctx, point: point, logs: logs, target: t, way: &Way{Target: t, Servers: map[uint32]bool{}}}
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
	return f.way, f.judge()
}

// finder walks along the logs.
type finder struct {
	ctx    context.Context
	point  *catalog.Point
	logs   Logs
	target Target
	way    *Way

	wanted  *binlog.GTIDs // the target's
	seen    *binlog.GTIDs // executed, or left out as asked
	reached bool          // the end is found
	within  bool          // the target's offset is one where an event begins or ends
	overlap bool          // the logs of this server begin before those of the last one end
	next    string        // the file that follows on the last one, by its own word
	lineage lineage
	latest  time.Time // of the transactions that the point has, as far as they were seen; zero: none was
}

func (f *finder) prepare() error {
	var err error
	if f.way.Executed, err = binlog.ParseGTIDs(f.logs.MariaDB, f.point.Position.GTID); err != nil {
		return fmt.Errorf("the point's position: %w", err)
	}
	f.seen = f.way.Executed.Clone()
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

// compareWithPoint refuses GTIDs that the point has already.
func (f *finder) compareWithPoint() error {
	switch {
	case f.wanted.Empty():
		return f.refuse("it names no transaction")
	case f.target.Before && f.way.Executed.HasAny(f.wanted):
		return f.refuse("the point has it already, or a part of it: take an earlier point")
	case !f.way.Executed.Has(f.wanted):
		return nil
	case !f.target.Before && f.wanted.Has(f.way.Executed):
		f.reached = true // it is the point's own moment
		return nil
	}
	return f.refuse("the point has it already: take an earlier point")
}

// later refuses a position before the point, and one that can be meant in more than one log.
func (f *finder) later(s start) error {
	t := f.target
	if t.File == "" {
		return nil
	}
	named := func(l Log) bool { return l.Name == t.File }
	switch at := f.logs.All[s.log]; {
	case t.File == at.Name && (t.Offset < s.offset || t.Offset == s.offset && t.Before):
		return f.refuse("the point stands at %s:%d: take an earlier point", at.Name, s.offset)
	case slices.ContainsFunc(f.logs.All[:s.log], named) && !slices.ContainsFunc(f.logs.All[s.log:], named):
		return f.refuse("%s is before %s, where the point stands: take an earlier point", t.File, at.Name)
	}
	if i := slices.IndexFunc(f.logs.All[s.log:], named); i >= 0 && slices.ContainsFunc(f.logs.All[s.log+i+1:], named) {
		return f.refuse("there is more than one %s, of several servers or from before and after a reset: name a GTID or a time", t.File)
	}
	return nil
}

// past refuses a time before the last transaction of the point, or, if none of those was seen, before the point itself.
func (f *finder) past() error {
	t, since, what := f.target, f.latest, "its last transaction was committed at"
	if t.Time.IsZero() {
		return nil
	}
	if since.IsZero() {
		since, what = f.point.TakenAt, "it was taken at"
	}
	if t.Time.Before(since) || t.Before && t.Time.Equal(since) {
		return f.refuse("it is before the point: %s %s; take an earlier point", what, since.UTC().Format(timeFormat))
	}
	return nil
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

// joins tells whether the way can begin with a log of another server than the point's: one that was begun before the point and has nothing before it
// that the point lacks, or one that goes on exactly from the point. After a reset GTIDs say nothing, hence the time.
func (f *finder) joins(l Log) bool {
	h, err := f.head(l)
	if err != nil || h.executed == nil || !f.way.Executed.Has(h.executed) {
		return false
	}
	return f.before(h) || h.executed.Has(f.way.Executed)
}

// walk reads one log, of which all before from is in the point.
func (f *finder) walk(l Log, from int64) error {
	if f.target.File == l.Name && f.target.Offset == binlog.Start && from == 0 {
		f.reached = true // nothing of it
	}
	file, err := os.Open(l.Path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	w := &walker{finder: f, log: l, from: from}
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

// head is what a log says of itself.
type head struct {
	begun    time.Time
	executed *binlog.GTIDs // before it; nil: it does not say
}

func (f *finder) head(l Log) (h head, err error) {
	file, err := os.Open(l.Path)
	if err != nil {
		return h, err
	}
	defer func() { _ = file.Close() }()
	events := 0
	err = binlog.Scan(io.LimitReader(file, l.Size), func(e binlog.Event) error {
		if events++; events == 1 {
			h.begun = time.Unix(int64(e.Header.Timestamp), 0)
		}
		text, ok, err := binlog.Executed(e)
		if ok {
			h.executed, err = binlog.ParseGTIDs(f.logs.MariaDB, text)
		}
		if err == nil && (ok || events > 4) {
			err = binlog.ErrStop
		}
		return err
	})
	return h, err
}

// start is where the point stands in the logs.
type start struct {
	log    int
	offset int64
}

// start finds the log that the point was taken with, or, where that server's logs are not among these, the first one that has something the
// point lacks.
func (f *finder) start() (start, error) {
	at := f.point.Position
	if v := restore.ParseVersion(f.point.Server.Version); !f.logs.MariaDB && !v.AtLeast(5, 7, 0) {
		return start{}, f.refuse("MySQL %s cannot replay beside its own replication, only 5.7 and newer", f.point.Server.Version)
	}
	if f.point.Consistency != catalog.Application {
		return start{}, f.refuse("the point is only %s-consistent, so that nobody knows exactly which transactions it has", f.point.Consistency)
	}
	if at.File == "" {
		return start{}, f.refuse("the server wrote no binary log when the point was taken")
	}
	if len(f.logs.All) == 0 {
		return start{}, f.refuse("there is no binary log in %s", f.logs.From)
	}
	server := Identity(f.point.Server.ServerUUID, f.point.Server.ServerID)
	for i := len(f.logs.All) - 1; i >= 0; i-- {
		l := f.logs.All[i]
		if l.Server == server && l.Name == filepath.Base(at.File) && l.Size >= int64(at.Offset) && f.fits(l) {
			return start{i, int64(at.Offset)}, nil
		}
	}
	if at.GTID == "" {
		return start{}, f.refuse("%s, which the point was taken with, is not in %s", at.File, f.logs.From)
	}
	f.overlap = true
	for i := len(f.logs.All) - 1; i >= 0; i-- {
		if f.joins(f.logs.All[i]) {
			return start{i, 0}, nil
		}
	}
	return start{}, f.refuse("%s does not reach back to where the point stands, %s:%d", f.logs.From, at.File, at.Offset)
}

// fits tells a log from another one of the same name and server that was begun after the point, after a reset.
func (f *finder) fits(l Log) bool {
	h, err := f.head(l)
	return err == nil && f.before(h)
}

// before tells whether a log was begun before the point was taken; it tells its time in seconds.
func (f *finder) before(h head) bool { return !h.begun.After(f.point.TakenAt.Add(time.Second)) }

// Identity tells one server from another: by its UUID where it has one, else by its id.
func Identity(uuid string, id uint32) string {
	if uuid != "" {
		return uuid
	}
	return fmt.Sprintf("server-id %d", id)
}

// judge looks at where the walk ended.
func (f *finder) judge() error {
	t := f.target
	covered := f.logs.Until
	if f.way.Last != nil && f.way.Last.Time.After(covered) {
		covered = f.way.Last.Time
	}
	switch {
	case f.past() != nil:
		return f.past()
	case f.reached:
		return f.judgeSkips()
	case !t.Time.IsZero() && !t.Time.After(covered):
		return f.judgeSkips() // nothing was committed after the last one that is applied
	case !t.Time.IsZero():
		return f.refuse("%s ends at %s", f.logs.From, covered.UTC().Format(timeFormat))
	case t.File != "" && f.within:
		return f.refuse("the offset lies inside an event: those of transactions are shown by binlog find")
	}
	r := f.refuse("it is not in %s after the point", f.logs.From)
	r.Missing = true
	return r
}

// judgeSkips wants what shall be left out to be there.
func (f *finder) judgeSkips() error {
	if len(f.way.Skipped) != len(f.target.Skip) {
		return f.refuse("of the transactions to skip only %d of %d are on the way: %v", len(f.way.Skipped), len(f.target.Skip), f.way.Skipped)
	}
	return nil
}
