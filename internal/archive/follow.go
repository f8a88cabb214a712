package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/replication"
)

// errStands means that the server has events that it does not send, as after a reset that the stream did not notice.
var errStands = errors.New("the server does not send what it has")

// errBroken means that the last log was ended, since the server has another one.
var errBroken = errors.New("the server's log is not the one that was archived")

// follower takes the events of one stream, from one goroutine.
type follower struct {
	*archiver
	ctx    context.Context // of the stream
	facts  *facts
	course course

	began   bool     // the server has named the log that it sends
	name    string   // of the log that it sends
	at      int64    // where its next event begins
	opening *opening // of a log that begins; nil: it goes on
	filled  bool     // ours has an event that the server does not send, and it is compared from the beginning
}

// follow archives what a server sends, until that or the context ends.
func (a *archiver) follow(ctx context.Context, p *peer, c course) error {
	s, facts := p.source, p.facts
	if c.resume && c.detour == nil { // else the next log says it
		if err := a.spool.stay(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &follower{archiver: a, ctx: ctx, facts: facts, course: c, name: c.from.file, at: c.from.at}
	if !c.resume {
		f.opening = &opening{}
	} else if c.from.at == start {
		f.filled = a.spool.end().Encrypted
	}
	d, err := startDump(*s, facts.server.Product, a.id, c.from, a.Log, f.event)
	if err != nil {
		return err
	}
	a.Log.Info("Archiving the binary log", "instance", a.Instance, "server", s.Address(), "from", c.from.String())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		cancel(f.watch(ctx, p.conn))
	}()
	err = d.wait(ctx)
	cancel(err)
	told := d.close()
	<-watched
	switch cause := context.Cause(ctx); {
	case told != nil:
		err = told
	case cause != nil:
		err = cause
	}
	return errors.Join(err, a.spool.sync(ctx))
}

// watch syncs what arrives, and looks now and then whether the server is where we are.
func (f *follower) watch(ctx context.Context, conn *client.Conn) error {
	syncs, looks := time.NewTicker(f.syncEvery), time.NewTicker(f.lookEvery)
	defer syncs.Stop()
	defer looks.Stop()
	var before place
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-syncs.C:
			if err := f.spool.sync(ctx); err != nil {
				return lasting{err}
			}
		case <-looks.C:
			now, asked := place{ours: f.place()}, time.Now()
			end, err := endOf(conn, f.facts.server.Product)
			if err != nil {
				return err
			}
			now.server = end
			switch behind := now.behind(f.spool.end()); {
			case !behind:
				if err := f.spool.sync(ctx); err != nil {
					return lasting{err}
				}
				f.complete(asked)
			case now == before:
				return fmt.Errorf("%w: it is at %s", errStands, end)
			}
			before = now
		}
	}
}

// place is where both were at a look.
type place struct{ ours, server position }

// behind tells whether the server is elsewhere than we are.
func (p place) behind(end *entry) bool {
	return end == nil || end.Name != p.server.file || end.Size != p.server.at
}

// event takes what the server sends next.
func (f *follower) event(e *replication.BinlogEvent) error {
	raw := e.RawData
	h, err := readHeader(raw)
	if err != nil {
		return err
	}
	rotate, isRotate := e.Event.(*replication.RotateEvent)
	switch {
	case isRotate && (h.flags&artificial != 0 || h.end == 0):
		return f.rotated(string(rotate.NextLogName))
	case isArtificial(h):
		return nil
	case f.opening != nil:
		return f.begin(raw)
	case h.kind == replication.FORMAT_DESCRIPTION_EVENT && h.end == 0: // for who starts in the middle of a file
		return nil
	case f.course.resume && f.at < f.spool.scan.at:
		return f.compare(raw)
	}
	if err := f.spool.append(f.ctx, raw); err != nil {
		return err
	}
	f.at += int64(len(raw))
	return f.enough()
}

// compare holds an event that we have against the one that the server sends for it.
func (f *follower) compare(raw []byte) error {
	if err := f.skipFiller(); err != nil {
		return err
	}
	ours := make([]byte, len(raw))
	n, err := f.spool.file.ReadAt(ours, f.at)
	if f.at == start && err == nil { // in a file that was just closed
		raw = cleared(raw)
	}
	if n < len(raw) || !bytes.Equal(raw, ours) {
		return f.broken(fmt.Sprintf("the server's %s has other events from %d on than were archived", f.name, f.at))
	}
	if f.at += int64(len(raw)); f.at == f.spool.scan.at {
		f.Log.Debug("the archive ends as the server's log does there", "instance", f.Instance, "at", position{f.name, f.at}.String())
	}
	return f.enough()
}

// skipFiller steps over the event that only we have.
func (f *follower) skipFiller() error {
	if !f.filled {
		return nil
	}
	head := make([]byte, headerSize)
	if _, err := f.spool.file.ReadAt(head, f.at); err != nil {
		return err
	}
	h, err := readHeader(head)
	if err == nil && h.kind == replication.IGNORABLE_EVENT {
		f.at += h.size
	}
	return err
}

// broken ends the last log, and the stream: the next attempt begins anew.
func (f *follower) broken(reason string) error {
	if err := f.spool.close(f.ctx, reason); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", errBroken, reason)
}

// rotated is told when the server begins to send a log.
func (f *follower) rotated(name string) error {
	switch {
	case !validName(name):
		return fmt.Errorf("the server calls its log %q", name)
	case name == f.name:
		f.began = true
		return nil
	case !f.began:
		return fmt.Errorf("the server sends %s instead of %s", name, f.name)
	case f.opening != nil:
		return fmt.Errorf("the server sends %s, and nothing of %s", name, f.name)
	case f.course.resume && f.at < f.spool.scan.at:
		return f.broken(fmt.Sprintf("the server has less than was archived, after a crash, a reset, or as an older state: its %s ends at %d, before %d", f.name, f.at, f.spool.scan.at))
	}
	if err := f.spool.close(f.ctx, ""); err != nil {
		return err
	}
	if f.name == f.facts.end.file {
		if err := f.enough(); err != nil {
			return err
		}
	}
	if name != successor(f.name) { // somebody deleted logs, or reset them: look at it from the beginning
		return fmt.Errorf("the server sends %s after %s", name, f.name)
	}
	f.name, f.at, f.opening, f.course = name, start, &opening{}, course{detour: f.course.detour}
	return nil
}

// validName is one that can be part of a file's name.
func validName(name string) bool {
	return name != "" && len(name) < 200 && !strings.ContainsAny(name, "/\x00\n") && !strings.HasPrefix(name, ".")
}

// begin collects the first events of a log, and makes it when there are enough to know it by.
func (f *follower) begin(raw []byte) error {
	o := f.opening
	complete, err := o.add(raw)
	if err != nil || !complete {
		return err
	}
	end := f.spool.end()
	content := o.bytes()
	h, err := readHeader(o.second)
	if err != nil {
		return err
	}
	e := &entry{Log: Log{
		Seq: 1, Server: f.facts.server, Name: f.name, Head: o.head(), Size: int64(len(content)),
		First: o.first, Last: h.at, GTIDBefore: o.before.String(), GTIDAfter: o.before.String(), Encrypted: o.hole > 0, Fills: f.fills,
	}, Tail: int64(len(content) - len(o.second)), Ends: byte(h.kind)}
	if end != nil {
		e.Seq = end.Seq + 1
		if !end.Closed { // the server's, which we never saw closed
			if err := f.spool.close(f.ctx, ""); err != nil {
				return err
			}
		}
	}
	if d := f.course.detour; d != nil {
		e.Instead = &d.home
	}
	if e.Gap, err = f.course.join(end, e.Log, f.facts.gtids); err != nil {
		return err
	}
	scan := &scanner{at: e.Size, tail: e.Tail, last: h, checksums: o.checksums, history: history{done: o.before}}
	if err := f.spool.begin(f.ctx, e, scan, content); err != nil {
		return err
	}
	f.opening, f.at = nil, e.Size
	f.tell(e)
	return f.enough()
}

func (f *follower) tell(e *entry) {
	f.Log.Info("Archiving "+e.Name, "instance", f.Instance, "seq", e.Seq, "encrypted", e.Encrypted)
	if g := e.Gap; g != nil {
		f.Log.Error("there is a gap in the archived binary logs: "+g.Reason, "instance", f.Instance, "from", g.From, "to", g.To, "gtids", g.GTIDs)
	}
}

// enough ends the stream when there was something to reach, and it is reached.
func (f *follower) enough() error {
	ended := f.name == f.facts.end.file && f.at >= f.facts.end.at
	switch d := f.course.detour; {
	case d != nil && f.spool.has(d.want):
		return errMet
	case d != nil && ended:
		return errVain
	case f.Once && ended:
		return errEnough
	}
	return nil
}
