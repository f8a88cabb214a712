package archive

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// Options say what an archiver follows, and where to.
type Options struct {
	Dir      string
	Instance string
	Host     string   // this machine's name: with the instance it makes the replication client's server id
	Sources  []Source // the instance, and those of the same topology that it may go on with
	// Failover is how long none but servers that are not the one that was followed may be reachable, before one of those is taken.
	Failover time.Duration
	Once     bool // archive what there is, and end
	Log      *slog.Logger

	syncEvery, lookEvery, fillEvery, settleFor time.Duration // 0: as always; tests are in a hurry
}

const (
	usualSync = 200 * time.Millisecond // half a second is promised, and a sync takes its time too
	usualLook = 5 * time.Second        // between two looks at whether the server is where we are
	// usualSettle is how long a replica gets for what another server had a moment ago.
	usualSettle = 5 * time.Second
	// DefaultFailover is the Failover of a configuration that says nothing.
	DefaultFailover = 30 * time.Second
)

// archiver follows one server after the other.
type archiver struct {
	Options
	id     uint32
	spool  *spool
	sought time.Time // since when the server that was followed is sought; zero: it was found
	// vain is what was looked for at an address, and not there.
	vain  map[string]string
	told  map[string]bool // what was said, and need not be said again
	fills string          // what the logs are for; "": for themselves
}

// Run archives until the context ends, which is no error; with Once until all that there was is archived. The caller sees to it that one
// archiver runs for a directory.
func Run(ctx context.Context, o Options) error {
	if o.syncEvery == 0 {
		o.syncEvery = usualSync
	}
	if o.lookEvery == 0 {
		o.lookEvery = usualLook
	}
	if o.fillEvery == 0 {
		o.fillEvery = usualFill
	}
	if o.settleFor == 0 {
		o.settleFor = usualSettle
	}
	s, err := openSpool(o.Dir, o.Log)
	if err != nil {
		return err
	}
	a := newArchiver(o, s)
	filled := a.filling(ctx)
	err = a.run(ctx)
	filled()
	stopped := s.stop(ctx)
	if ctx.Err() != nil && isFull(stopped) {
		stopped = nil // told already, and the server sends again what was not written
	}
	return errors.Join(err, stopped)
}

// filling fills gaps meanwhile; what it returns waits until that has ended. With Once it is then that it is done.
func (a *archiver) filling(ctx context.Context) (wait func()) {
	o := a.Options
	o.Sources = slices.Clone(o.Sources) // connecting changes them
	filler := newArchiver(o, nil)
	if a.Once {
		return func() { filler.fillAll(ctx) }
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		filler.fillAlways(ctx)
	}()
	return func() { stop(); <-done }
}

func newArchiver(o Options, s *spool) *archiver {
	return &archiver{Options: o, id: clientID(o.Host, o.Instance), spool: s, vain: map[string]string{}, told: map[string]bool{}}
}

// clientID lies in the upper half, where nobody counts up to by hand.
func clientID(host, instance string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(host + "\x00" + instance))
	return h.Sum32() | 1<<31
}

// lasting is an error that another attempt does not mend.
type lasting struct{ error }

func (l lasting) Unwrap() error { return l.error }

// run tries again and again, at longer and longer intervals as long as nothing arrives.
func (a *archiver) run(ctx context.Context) error {
	const shortest, longest = 200 * time.Millisecond, 10 * time.Second
	pause, told := shortest, ""
	for {
		before := a.place()
		err := a.attempt(ctx)
		var stop lasting
		switch {
		case ctx.Err() != nil || errors.Is(err, errEnough):
			return nil
		case errors.Is(err, errMet):
			a.Log.Info(errMet.Error()+": back to the server that is followed", "instance", a.Instance)
			continue
		case errors.As(err, &stop) || a.Once && !errors.Is(err, errBroken) && !errors.Is(err, errVain):
			return err
		case a.place() != before:
			pause, told = shortest, ""
		}
		if text := err.Error(); text != told { // once, not every ten seconds
			a.Log.Warn("archiving was interrupted, and is tried again: "+text, "instance", a.Instance)
			told = text
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// place is where the archive ends.
func (a *archiver) place() position {
	if e := a.spool.end(); e != nil {
		return position{fmt.Sprint(e.Seq), e.Size}
	}
	return position{}
}

// attempt finds a server, and where to go on there, and follows it until that ends.
func (a *archiver) attempt(ctx context.Context) error {
	if err := a.spool.sync(ctx); err != nil {
		return err // nothing is compared with what could not be written
	}
	asked := time.Now()
	p, err := a.choose(ctx)
	if err != nil {
		return err
	}
	defer p.conn.Close()
	end := a.spool.end()
	next, err := decide(end, p.facts, p.look(ctx, a))
	if err != nil {
		return err
	}
	if end != nil && end.Broken == "" && next.broken != "" {
		if err := a.spool.close(ctx, next.broken); err != nil {
			return err
		}
	}
	other, there, err := a.around(ctx, end, p, next)
	if err != nil {
		return err
	}
	if other != nil {
		defer other.conn.Close()
		p, next = other, there
	}
	err = a.follow(ctx, p, next)
	switch {
	case errors.Is(err, errEnough) && a.spool.sync(ctx) == nil:
		a.complete(asked)
	case errors.Is(err, errVain):
		a.vain[p.source.Address()] = next.detour.want.String()
	}
	return err
}

// choose takes the server that was followed, if it is reachable; after a time another one of the topology, in the order of the list.
func (a *archiver) choose(ctx context.Context) (*peer, error) {
	end := a.spool.end()
	var faults []error
	var other *peer
	for i := range a.Sources {
		s := &a.Sources[i]
		conn, f, err := meet(ctx, s)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if end == nil || sameServer(end.followed(), f.server) {
			a.sought = time.Time{}
			if other != nil {
				_ = other.conn.Close()
			}
			return &peer{s, conn, f}, nil
		}
		if other != nil {
			_ = conn.Close()
			continue
		}
		other = &peer{s, conn, f}
	}
	if other == nil {
		return nil, errors.Join(faults...)
	}
	if a.sought.IsZero() {
		a.sought = time.Now()
	}
	if wait := a.Failover - time.Since(a.sought); len(a.Sources) > 1 && wait > 0 && !a.Once {
		_ = other.conn.Close()
		return nil, errors.Join(append(faults, fmt.Errorf("%s is not the server that was followed: it is taken if that does not come back within %s",
			other.source.Address(), a.Failover))...)
	}
	a.sought = time.Time{}
	a.Log.Warn("going on with another server", "instance", a.Instance, "server", other.source.Address(), "server_id", other.facts.server.ID)
	return other, nil
}

func meet(ctx context.Context, s *Source) (*client.Conn, *facts, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	f, err := ask(conn)
	if err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("%s: %w", s.Address(), err)
	}
	return conn, f, nil
}

// sameServer compares what does not change with a restart. MariaDB has but the server id, which two servers of a topology never share.
func sameServer(a, b Server) bool {
	return a.Product == b.Product && a.UUID == b.UUID && (a.UUID != "" || a.ID == b.ID)
}
