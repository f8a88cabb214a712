package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/durable"
)

const (
	flushAt    = 1 << 20  // bytes that wait in memory at most; the sync takes them earlier
	checkpoint = 16 << 20 // bytes after which an open log is described again, so that its end is soon found
)

// spool is the archive's directory with its last log open for writing. One goroutine appends; another may sync meanwhile.
type spool struct {
	dir string
	log *slog.Logger

	syncing sync.Mutex // held while files are synced, or exchanged
	mu      sync.Mutex // of what follows
	last    *entry     // nil: nothing is archived yet
	scan    *scanner   // of the last, while it is open
	file    *os.File   // nil: it is closed
	mark    *os.File
	waiting []byte // bytes up to scan.at that are not written yet
	synced  int64
}

// end is a copy of the last log's description as it is now, synced or not; nil: there is none.
func (s *spool) end() *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return nil
	}
	e := *s.last
	if s.file != nil {
		s.scan.tell(&e)
	}
	return &e
}

// has tells whether all of this is archived. It is so only between transactions.
func (s *spool) has(all *gtids) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scan.history.commit == nil && s.scan.history.done.lacks(all) == ""
}

// begin makes the next log, with its first events, and describes it: from here on it exists.
func (s *spool) begin(ctx context.Context, e *entry, scan *scanner, first []byte) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	path := (&Archive{s.dir}).Path(e.Log)
	var file, mark *os.File
	err := s.whenThereIsRoom(ctx, func() (err error) {
		if file, err = create(path, first); err != nil {
			return err
		}
		if mark, err = os.OpenFile(markName(s.dir, e), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return errors.Join(err, file.Close())
		}
		if err = errors.Join(writeMark(mark, e.Size), e.put(s.dir)); err != nil {
			return errors.Join(err, mark.Close(), file.Close())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot begin the archived log %s: %w", path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.scan, s.file, s.mark, s.waiting, s.synced = e, scan, file, mark, nil, e.Size
	return nil
}

// create writes a synced file.
func create(path string, content []byte) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteAt(content, 0); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// append takes the next event, if it is sound and belongs here.
func (s *spool) append(ctx context.Context, raw []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.scan.event(raw); err != nil {
		return fmt.Errorf("what the server sends of %s at %d cannot be archived: %w", s.last.Name, s.scan.at, err)
	}
	s.waiting = append(s.waiting, raw...)
	if len(s.waiting) >= flushAt {
		return s.flush(ctx)
	}
	return nil
}

// flush writes what waits. A write that failed half way is written again, at the same place.
func (s *spool) flush(ctx context.Context) error {
	if len(s.waiting) == 0 {
		return nil
	}
	at := s.scan.at - int64(len(s.waiting))
	err := s.whenThereIsRoom(ctx, func() error { _, err := s.file.WriteAt(s.waiting, at); return err })
	if err != nil {
		return fmt.Errorf("cannot write the archived log %s: %w", s.file.Name(), err)
	}
	if s.waiting = s.waiting[:0]; cap(s.waiting) > 8*flushAt {
		s.waiting = nil // a large event is over
	}
	return nil
}

// sync makes durable what has arrived.
func (s *spool) sync(ctx context.Context) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	return s.settle(ctx)
}

// settle is sync for who holds the files.
func (s *spool) settle(ctx context.Context) error {
	s.mu.Lock()
	if s.file == nil || s.scan.at == s.synced {
		s.mu.Unlock()
		return nil
	}
	err := s.flush(ctx)
	described, at, due := *s.last, s.scan.at, s.scan.at-s.last.Size >= checkpoint && s.scan.history.commit == nil
	if due {
		s.scan.tell(&described)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := syscall.Fdatasync(int(s.file.Fd())); err != nil {
		return fmt.Errorf("cannot sync the archived log %s: %w", s.file.Name(), err)
	}
	if err := s.whenThereIsRoom(ctx, func() error { return writeMark(s.mark, at) }); err != nil {
		return fmt.Errorf("cannot note what is synced of %s: %w", s.file.Name(), err)
	}
	s.mu.Lock()
	s.synced = at
	s.mu.Unlock()
	if due {
		return s.describe(ctx, &described)
	}
	return nil
}

func (s *spool) describe(ctx context.Context, e *entry) error {
	if err := s.whenThereIsRoom(ctx, func() error { return e.put(s.dir) }); err != nil {
		return fmt.Errorf("cannot describe the archived log %s: %w", e.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = e
	return nil
}

// stay forgets that the last log was read instead of another server's: what follows on it is found without that.
func (s *spool) stay(ctx context.Context) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.last == nil || s.last.Instead == nil {
		return nil
	}
	e := *s.last
	e.Instead = nil
	return s.describe(ctx, &e)
}

// close ends the last log, to which the server writes no more; broken says why nothing follows on it, if so.
func (s *spool) close(ctx context.Context, broken string) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if err := s.settle(ctx); err != nil {
		return err
	}
	e := *s.last
	if s.file != nil {
		s.scan.tell(&e)
	}
	e.Closed, e.Broken = true, broken
	if err := s.describe(ctx, &e); err != nil {
		return err
	}
	s.release()
	_ = os.Remove(markName(s.dir, &e))
	return nil
}

// release lets go of the files.
func (s *spool) release() {
	for _, f := range []*os.File{s.file, s.mark} {
		if f != nil {
			_ = f.Close()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file, s.mark = nil, nil
}

// stop syncs what has arrived, and lets go.
func (s *spool) stop(ctx context.Context) error {
	err := s.sync(ctx)
	s.release()
	return err
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

const retryRoom = time.Second

// whenThereIsRoom tries again as long as the file system is full, and the context lasts: the server keeps its logs meanwhile, and nothing
// is lost by waiting.
func (s *spool) whenThereIsRoom(ctx context.Context, write func() error) error {
	var told time.Time
	for {
		err := write()
		if !isFull(err) {
			if err == nil && !told.IsZero() {
				s.log.Info("there is room again: archiving goes on", "directory", s.dir)
			}
			return err
		}
		if time.Since(told) > time.Minute {
			told = time.Now()
			s.log.Error("no room in the binary log archive: it waits until there is some. "+
				"If the server purges its logs meanwhile there will be a gap", "directory", filepath.Clean(s.dir), "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryRoom):
		}
	}
}

// openSpool makes the directory where it is missing, takes away what a killed archiver left half done, and cuts the last log back to
// whole events that are verified.
func openSpool(dir string, log *slog.Logger) (*spool, error) {
	if err := durable.MakeDir(dir); err != nil {
		return nil, fmt.Errorf("cannot make the binary log archive: %w", err)
	}
	if err := identify(dir); err != nil {
		return nil, err
	}
	s := &spool{dir: dir, log: log}
	names, err := entryNames(dir)
	if err == nil {
		err = sweep(dir, names)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the binary log archive: %w", err)
	}
	if len(names) == 0 {
		return s, nil
	}
	if s.last, err = readEntry(filepath.Join(dir, names[len(names)-1])); err != nil {
		return nil, fmt.Errorf("cannot read the binary log archive: %w", err)
	}
	if s.last.Closed {
		return s, nil
	}
	return s, s.reopen()
}
