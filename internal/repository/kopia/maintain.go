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
	"github.com/kopia/kopia/repo/format"
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

const (
	// abandoned is how long an owner may be silent before another host maintains in its place.
	abandoned = 7 * 24 * time.Hour
	// often is the least time between two maintenances: less gains nothing, since kopia waits for two collections anyway.
	often = 20 * time.Hour
)

// Maintain runs kopia's full maintenance with its full safety margins: what nothing refers to is marked by one collection, and dropped after a
// second one, so after one to three days. Sessions that take longer protect what they have (checkpoint).
func (s *Store) Maintain(ctx context.Context) (repository.Maintenance, error) {
	before, err := s.maintained(ctx)
	if err != nil {
		return repository.Maintenance{}, err
	}
	reason, err := s.mayMaintain(ctx, before)
	if err != nil || reason != "" {
		return repository.Maintenance{Reason: reason}, err
	}
	err = repo.DirectWriteSession(ctx, s.repo, repo.WriteSessionOptions{Purpose: "holdstill maintain"}, func(ctx context.Context, w repo.DirectRepositoryWriter) error {
		return snapshotmaintenance.Run(ctx, w, maintenance.ModeFull, true, maintenance.SafetyFull)
	})
	if err == nil {
		err = s.sweepTails(ctx, time.Now().Add(-tailMargin))
	}
	if err != nil {
		return repository.Maintenance{}, fmt.Errorf("cannot maintain the repository: %w", meaning(err))
	}
	after, err := s.maintained(ctx)
	if err == nil && !after.After(before) {
		return repository.Maintenance{Reason: "another process of this machine is at it"}, nil
	}
	return repository.Maintenance{Ran: err == nil}, err
}

// mayMaintain gives the reason why not, or "". An owner that was silent for long is replaced.
func (s *Store) mayMaintain(ctx context.Context, last time.Time) (string, error) {
	p, err := maintenance.GetParams(ctx, s.repo)
	if err != nil {
		return "", fmt.Errorf("cannot read who maintains the repository: %w", meaning(err))
	}
	if time.Since(last) < often {
		return "it was done " + last.UTC().Format("2006-01-02 15:04") + " UTC", nil
	}
	if p.Owner == s.repo.ClientOptions().UsernameAtHost() {
		return "", nil
	}
	if last.IsZero() { // never: then it counts from the beginning
		m, err := s.repo.BlobReader().GetMetadata(ctx, format.KopiaRepositoryBlobID)
		if err != nil {
			return "", fmt.Errorf("cannot read how old the repository is: %w", err)
		}
		last = m.Timestamp
	}
	if p.Owner != "" && time.Since(last) < abandoned {
		return "it is done by " + strings.TrimPrefix(p.Owner, userName+"@"), nil
	}
	if err := s.settle(ctx); err != nil {
		return "", fmt.Errorf("cannot take over the maintenance: %w", meaning(err))
	}
	return "", nil
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
	logs, logsErr := s.Logs(ctx)
	err = errors.Join(err, logsErr)
	out.Points, out.Logs = len(points), len(logs)
	for _, p := range append(points, logs...) {
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
