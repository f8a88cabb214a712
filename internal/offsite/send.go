package offsite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/extent"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/repository"
)

// describe is a log as the repository is told of it.
func (s *Shipper) describe(l archive.State) (repository.Description, Record, error) {
	r := Record{State: l, Archive: s.archive, Until: s.completeUntil(l)}
	raw, err := json.Marshal(r)
	return repository.Description{Kind: repository.KindLog, Point: ID(s.Host, s.Instance, s.archive, l.Seq), Instance: s.Instance, Host: s.Host,
		TakenAt: l.First, Entry: raw}, r, err
}

// completeUntil is what a log's record says of the time. What the archive said at the look is true where all is stored that the look found: with its last
// log, since the oldest are sent first. What was said of a log before stays true when there is more of it.
func (s *Shipper) completeUntil(l archive.State) time.Time {
	var was time.Time
	if is := s.stored[l.Seq]; is != nil {
		was = is.Until
	}
	if l.Seq == s.last && s.until.After(was) {
		return s.until
	}
	return was
}

func (s *Shipper) bytesOf(l archive.State) (*os.File, error) {
	a, err := archive.Open(s.Dir)
	if err != nil {
		return nil, err
	}
	return os.Open(a.Path(l.Log))
}

// append sends what is new as a tail.
func (s *Shipper) append(ctx context.Context, l archive.State, is *Stored) error {
	f, err := s.bytesOf(l)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	t := repository.Tail{From: is.end(), To: l.Size}
	data := make([]byte, t.To-t.From)
	if _, err := io.ReadFull(io.NewSectionReader(f, t.From, t.To-t.From), data); err != nil {
		return fmt.Errorf("cannot read it from %d on: %w", t.From, err)
	}
	d, r, err := s.describe(l)
	if err != nil {
		return err
	}
	if err := s.store.Append(ctx, d, t, data); err != nil {
		return err
	}
	if err := fault.At("binlog.appended"); err != nil {
		return err
	}
	now := *is
	now.Record = r
	now.In.Tails = append(now.In.Tails, t)
	s.stored[l.Seq] = &now
	return nil
}

// commit stores the log as a tree. What this process stored of it before is neither read nor sent again.
func (s *Shipper) commit(ctx context.Context, l archive.State) (err error) {
	f, err := s.bytesOf(l)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < l.Size {
		return fmt.Errorf("it has %d bytes, and should have %d", info.Size(), l.Size)
	}
	d, r, err := s.describe(l)
	if err != nil {
		return err
	}
	w, err := s.store.Begin(ctx, repository.Session{Kind: repository.KindLog, Instance: s.Instance, Host: s.Host, Chunk: chunk,
		Progress: func(repository.Counts) { s.silent.Reset(silence) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close(context.WithoutCancel(ctx))) }()
	file := repository.File{Name: l.Name, Reader: f, Size: l.Size}
	if b, ours := s.bases[l.Seq]; ours {
		file.Base = b.content
		file.Changed = []extent.Range{{Offset: b.size, Length: l.Size - b.size}}
	}
	content, err := w.Put(ctx, file)
	if err != nil {
		return err
	}
	root := &repository.Node{Mode: fs.ModeDir | 0o700, ModTime: l.First, Entries: []*repository.Node{
		{Name: l.Name, Mode: 0o600, ModTime: l.Last, Size: l.Size, Content: content}}}
	if err := fault.At("binlog.sent"); err != nil {
		return err
	}
	stored, err := w.Commit(ctx, root, d)
	if err != nil {
		return err
	}
	if err := fault.At("binlog.committed"); err != nil {
		return err
	}
	s.stored[l.Seq], s.bases[l.Seq] = &Stored{Record: r, In: stored}, base{content, l.Size}
	return nil
}
