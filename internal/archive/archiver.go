package archive

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
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

	syncEvery, lookEvery time.Duration // 0: as always; tests are in a hurry
}

const (
	usualSync = 200 * time.Millisecond // half a second is promised, and a sync takes its time too
	usualLook = 5 * time.Second        // between two looks at whether the server is where we are
	// DefaultFailover is the Failover of a configuration that says nothing.
	DefaultFailover = 30 * time.Second
)

// archiver follows one server after the other.
type archiver struct {
	Options
	id     uint32
	spool  *spool
	sought time.Time // since when the server that was followed is sought; zero: it was found
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
	s, err := openSpool(o.Dir, o.Log)
	if err != nil {
		return err
	}
	a := &archiver{Options: o, id: clientID(o.Host, o.Instance), spool: s}
	err = a.run(ctx)
	stopped := s.stop(ctx)
	if ctx.Err() != nil && isFull(stopped) {
		stopped = nil // told already, and the server sends again what was not written
	}
	return errors.Join(err, stopped)
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
		case errors.As(err, &stop) || a.Once && !errors.Is(err, errBroken):
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
	source, conn, facts, err := a.choose(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	look := func(name string) (*opening, error) {
		return peek(ctx, *source, facts.server.Product, a.id, name, a.Log)
	}
	end := a.spool.end()
	next, err := decide(end, facts, look)
	if err != nil {
		return err
	}
	if end != nil && end.Broken == "" && next.broken != "" {
		if err := a.spool.close(ctx, next.broken); err != nil {
			return err
		}
	}
	err = a.follow(ctx, source, conn, facts, next)
	if errors.Is(err, errEnough) && a.spool.sync(ctx) == nil {
		a.complete(asked)
	}
	return err
}

// choose takes the server that was followed, if it is reachable; after a time another one of the topology, in the order of the list.
func (a *archiver) choose(ctx context.Context) (*Source, *client.Conn, *facts, error) {
	end := a.spool.end()
	var faults []error
	var other func() (*Source, *client.Conn, *facts, error)
	for i := range a.Sources {
		s := &a.Sources[i]
		conn, f, err := meet(ctx, s)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if end == nil || sameServer(end.Server, f.server) {
			a.sought = time.Time{}
			if other != nil {
				_, c, _, _ := other()
				_ = c.Close()
			}
			return s, conn, f, nil
		}
		if other != nil {
			_ = conn.Close()
			continue
		}
		other = func() (*Source, *client.Conn, *facts, error) { return s, conn, f, nil }
	}
	if other == nil {
		return nil, nil, nil, errors.Join(faults...)
	}
	if a.sought.IsZero() {
		a.sought = time.Now()
	}
	s, conn, f, _ := other()
	if wait := a.Failover - time.Since(a.sought); len(a.Sources) > 1 && wait > 0 && !a.Once {
		_ = conn.Close()
		return nil, nil, nil, errors.Join(append(faults, fmt.Errorf("%s is not the server that was followed: it is taken if that does not come back within %s",
			s.Address(), a.Failover))...)
	}
	a.sought = time.Time{}
	a.Log.Warn("going on with another server", "instance", a.Instance, "server", s.Address(), "server_id", f.server.ID)
	return s, conn, f, nil
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
