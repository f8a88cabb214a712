package kopia

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/maintenance"
	"github.com/kopia/kopia/snapshot/snapshotmaintenance"

	"github.com/holdstill/holdstill/internal/repository"
)

// settle makes this host the one that maintains, and says how often. kopia wants an owner, so that two hosts never do it at once; another
// host takes over when the owner did not for a long time (Maintain).
func (s *Store) settle(ctx context.Context) error {
	return repo.DirectWriteSession(ctx, s.repo, repo.WriteSessionOptions{Purpose: "holdstill settle"}, func(ctx context.Context, w repo.DirectRepositoryWriter) error {
		p := maintenance.DefaultParams()
		p.Owner = w.ClientOptions().UsernameAtHost()
		stored, err := w.FormatManager().BlobCfgBlob(ctx)
		if err != nil {
			return err
		}
		p.ExtendObjectLocks = stored.IsRetentionEnabled()
		return maintenance.SetParams(ctx, w, &p)
	})
}

// abandoned is how long an owner may be silent before another host maintains in its place.
const abandoned = 7 * 24 * time.Hour

// Maintain runs kopia's full maintenance with its full safety margins: contents that nothing refers to are dropped after a day, so that a
// session under way on another host, which may refer to them again, loses nothing.
func (s *Store) Maintain(ctx context.Context) (repository.Maintenance, error) {
	p, err := maintenance.GetParams(ctx, s.repo)
	if err != nil {
		return repository.Maintenance{}, fmt.Errorf("cannot read who maintains the repository: %w", meaning(err))
	}
	mine := s.repo.ClientOptions().UsernameAtHost()
	if p.Owner != mine {
		last, err := s.maintained(ctx)
		if err != nil {
			return repository.Maintenance{}, err
		}
		if p.Owner != "" && time.Since(last) < abandoned {
			return repository.Maintenance{Reason: "it is done by " + strings.TrimPrefix(p.Owner, userName+"@")}, nil
		}
		if err := s.settle(ctx); err != nil {
			return repository.Maintenance{}, fmt.Errorf("cannot take over the maintenance: %w", meaning(err))
		}
	}
	ran := false
	err = repo.DirectWriteSession(ctx, s.repo, repo.WriteSessionOptions{Purpose: "holdstill maintain"}, func(ctx context.Context, w repo.DirectRepositoryWriter) error {
		ran = true
		return snapshotmaintenance.Run(ctx, w, maintenance.ModeFull, true, maintenance.SafetyFull)
	})
	if err != nil {
		return repository.Maintenance{}, fmt.Errorf("cannot maintain the repository: %w", meaning(err))
	}
	return repository.Maintenance{Ran: ran}, nil
}

// maintained is when a full maintenance last succeeded.
func (s *Store) maintained(ctx context.Context) (time.Time, error) {
	schedule, err := maintenance.GetSchedule(ctx, s.repo)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot read when the repository was maintained: %w", meaning(err))
	}
	var last time.Time
	for task, runs := range schedule.Runs {
		for _, r := range runs {
			if r.Success && strings.Contains(string(task), "full") && r.End.After(last) {
				last = r.End
			}
		}
	}
	return last, nil
}

// Status is what the repository is, and what it takes.
func (s *Store) Status(ctx context.Context) (repository.Status, error) {
	out := repository.Status{ID: s.ID(), Location: s.settings.Location.String(), Hosts: []string{}}
	f := s.repo.ContentReader().ContentFormat()
	out.Format = fmt.Sprintf("%s, %s, %s", f.GetHashFunction(), f.GetEncryptionAlgorithm(), compressor)
	err := s.repo.BlobReader().ListBlobs(ctx, "", func(m blob.Metadata) error {
		out.Blobs++
		out.Bytes += m.Length
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("cannot list what %s holds: %w", s.settings.Location, err)
	}
	points, err := s.Points(ctx)
	out.Points = len(points)
	for _, p := range points {
		if !slices.Contains(out.Hosts, p.Host) {
			out.Hosts = append(out.Hosts, p.Host)
		}
	}
	if c, capacityErr := s.repo.BlobVolume().GetCapacity(ctx); capacityErr == nil {
		out.Free, out.Capacity = int64(c.FreeB), int64(c.SizeB)
	} else if !errors.Is(capacityErr, blob.ErrNotAVolume) {
		err = errors.Join(err, capacityErr)
	}
	if last, maintainedErr := s.maintained(ctx); maintainedErr == nil {
		out.Maintained = last
	}
	if b, lockErr := s.repo.FormatManager().BlobCfgBlob(ctx); lockErr == nil && b.IsRetentionEnabled() {
		out.Lock = fmt.Sprintf("%s, %s", strings.ToLower(string(b.RetentionMode)), b.RetentionPeriod)
	}
	return out, err
}
