package offsite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/repository"
)

// The segments in which logs are sent, where the configuration says nothing.
const (
	DefaultEvery = 10 * time.Second
	DefaultBytes = 16 << 20
)

const (
	look          = time.Second // between two looks at what arrived
	shortestPause = time.Second // after a fault; each is twice as long as the one before
	longestPause  = 5 * time.Minute
	farewell      = 15 * time.Second // for what is left at the end
	silence       = time.Minute      // after which a repository that says nothing is told of
	closeUp       = 5 * time.Second  // for a store to be closed
	chunk         = 64 << 10
)

// Farewell is how long Run goes on at most when its context is over, if the store lets it.
const Farewell = farewell + closeUp + time.Second

// Shipper sends an archive to a repository while an archiver writes to it. It reads what is synced, and never keeps the archiver waiting.
type Shipper struct {
	Dir, Instance, Host string
	// Open opens the repository. It is called again after every fault, at growing intervals.
	Open  func(context.Context) (repository.Store, error)
	Every time.Duration // what arrived is sent after so long,
	Bytes int64         // or as soon as it is so much
	Log   *slog.Logger

	store   repository.Store
	archive string          // its identity
	stored  map[int]*Stored // what the repository has of it, by place
	bases   map[int]base    // what this process committed
	whole   int             // all logs up to this place are there to their ends
	watch   *archive.Watch
	state   State
	sent    time.Time       // when something was last sent
	waiting map[int]int64   // bytes of what is not sent, by place
	pending []archive.State // the logs that may have something to send
	last    int             // the place of the last log of a look,
	until   time.Time       // and the time until which nothing was missing behind it
	told    string          // the last fault
	silent  *time.Timer     // runs as long as the store says nothing
	noting  sync.Mutex
	noted   State // the state as it was last told, for those who hold noting
}

// base is the content of a log that is stored.
type base struct {
	content repository.Content
	size    int64
}

// Run ships until the context ends, and then what is left, if the repository answers.
func (s *Shipper) Run(ctx context.Context) {
	s.begin()
	defer s.end()
	pause := shortestPause
	for {
		err := s.attempt(ctx)
		if err == nil {
			pause = shortestPause
		}
		wait := look
		if err != nil && ctx.Err() == nil {
			s.fault(err, pause)
			wait, pause = pause, min(2*pause, longestPause)
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			if err := s.all(last); err != nil {
				s.fault(err, 0)
			}
			return
		case <-time.After(wait):
		}
	}
}

// Once ships all that there is now.
func (s *Shipper) Once(ctx context.Context) error {
	s.begin()
	defer s.end()
	err := s.all(ctx)
	if err != nil {
		s.fault(err, 0)
	}
	return err
}

func (s *Shipper) begin() {
	s.watch = (&archive.Archive{}).Watch()
	if a, err := archive.Open(s.Dir); err == nil {
		s.watch = a.Watch()
	}
	if known := ReadState(s.Dir); known != nil {
		s.state = *known
	}
	s.sent = time.Now()
}

func (s *Shipper) end() {
	s.watch.Close()
	s.leave()
}

// leave closes the store: after a fault it is opened anew.
func (s *Shipper) leave() {
	if s.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeUp)
	defer cancel()
	_ = s.store.Close(ctx) // what counts was confirmed
	s.store = nil
}

// attempt sends what is due.
func (s *Shipper) attempt(ctx context.Context) error {
	if err := s.look(); err != nil || !s.due() {
		return err
	}
	return s.round(ctx)
}

// all sends everything.
func (s *Shipper) all(ctx context.Context) error {
	if err := s.look(); err != nil || len(s.pending) == 0 {
		return err
	}
	return s.round(ctx)
}

// look finds what is not sent yet. The time until which nothing is missing is asked for first: what the logs are told to have then is at least that.
func (s *Shipper) look() error {
	s.until = time.Time{}
	if a, err := archive.Open(s.Dir); err == nil {
		s.until = a.Until()
	}
	logs, err := s.watch.After(s.whole)
	if err != nil {
		return err
	}
	s.pending, s.waiting = nil, map[int]int64{}
	for _, l := range logs {
		if s.last = l.Seq; l.Short {
			s.until = time.Time{}
		}
		is := s.stored[l.Seq]
		if is != nil && is.end() == l.Size && is.Closed == l.Closed && is.Broken == l.Broken && keyOf(is.Log) == keyOf(l.Log) {
			if l.Closed && len(s.pending) == 0 {
				s.whole = l.Seq
			}
			continue
		}
		s.pending = append(s.pending, l)
		s.waiting[l.Seq] = l.Size
		if is != nil {
			s.waiting[l.Seq] = max(0, l.Size-is.end())
		}
	}
	return nil
}

func (s *Shipper) due() bool {
	var bytes int64
	for _, n := range s.waiting {
		bytes += n
	}
	return s.state.Error != "" || len(s.pending) > 0 && (bytes >= s.Bytes || time.Since(s.sent) >= s.Every)
}

// round sends all that is pending, oldest first.
func (s *Shipper) round(ctx context.Context) error {
	over := s.listen()
	err := s.sendPending(ctx)
	silent := over()
	switch {
	case err != nil:
		s.leave()
	case silent, s.state.Error != "":
		s.answered()
	}
	return err
}

func (s *Shipper) sendPending(ctx context.Context) error {
	if err := s.meet(ctx); err != nil {
		return err
	}
	s.sent = time.Now()
	for _, l := range s.pending {
		if err := s.ship(ctx, l); err != nil && !(errors.Is(err, fs.ErrNotExist) && s.gone(l)) {
			return err
		}
	}
	return nil
}

// gone tells whether a log was pruned meanwhile.
func (s *Shipper) gone(l archive.State) bool {
	now, err := s.watch.After(l.Seq - 1)
	return err == nil && (len(now) == 0 || now[0].Seq != l.Seq)
}

// meet opens the repository, and asks what it has.
func (s *Shipper) meet(ctx context.Context) error {
	if s.store != nil {
		return nil
	}
	store, err := s.Open(ctx)
	if err != nil {
		return err
	}
	s.store = store
	a, err := archive.Open(s.Dir)
	if err != nil {
		return err
	}
	if s.archive, err = a.ID(); err != nil {
		return err
	}
	if s.archive == "" {
		return fmt.Errorf("the archive %s has no identity: no archiver of this version has written to it", s.Dir)
	}
	all, err := List(ctx, store, s.Host, s.Instance)
	if all == nil && err != nil {
		return err
	}
	s.stored, s.bases = map[int]*Stored{}, map[int]base{}
	for _, one := range all {
		if one.Archive == s.archive {
			s.stored[one.Seq] = &one
		}
	}
	return nil
}

// ship sends what is new of one log.
func (s *Shipper) ship(ctx context.Context, l archive.State) error {
	is := s.stored[l.Seq]
	var err error
	switch decide(l, is, s.trusts(l, is)) {
	case nothing:
		if t := s.state; is.end() == l.Size && (t.Archive != s.archive || t.Repository != s.store.ID() || l.Seq > t.Seq || l.Seq == t.Seq && t.Offset != l.Size) {
			s.found(l)
		}
		return nil
	case foreign:
		s.Log.Warn("the repository holds another log where this one belongs: the archive is stored anew, beside it", "instance", s.Instance, "log", l.Name)
		if err := s.renew(); err != nil {
			return err
		}
		err = s.commit(ctx, l)
	case appended:
		err = s.append(ctx, l, is)
	case committed:
		err = s.commit(ctx, l)
	}
	if err != nil {
		return fmt.Errorf("cannot ship the binary log %s: %w", l.Name, err)
	}
	s.note(l)
	return nil
}

// trusts tells whether what is stored of a log is known to be its beginning: this shipper sent it, or the last one noted that it did.
func (s *Shipper) trusts(l archive.State, is *Stored) bool {
	if is == nil {
		return false
	}
	_, ours := s.bases[l.Seq]
	t := s.state
	return ours || t.Repository == s.store.ID() && t.Archive == s.archive && t.Seq == l.Seq && t.Offset == is.end()
}

// renew makes the archive another one: all of it is stored again, and what was stored stays.
func (s *Shipper) renew() error {
	a, err := archive.Open(s.Dir)
	if err == nil {
		err = a.Renew()
	}
	if err == nil {
		s.archive, err = a.ID()
	}
	s.stored, s.bases, s.whole = map[int]*Stored{}, map[int]base{}, 0
	return err
}
