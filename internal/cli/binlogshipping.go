package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/wire"
)

// binlogShipping is how far the repository has the archive.
type binlogShipping struct {
	offsite.State
	UnshippedBytes int64 `json:"unshipped_bytes"`
}

// shipping reads what the shipper noted; nil if nothing is to be shipped. The repository is not asked.
func (a *app) shipping(i *config.Instance, logs []archive.Log) (*binlogShipping, error) {
	c, err := a.written()
	if err != nil {
		return nil, err
	}
	_, err = wire.RepositoryOf(c, a.dirs)
	if errors.Is(err, wire.ErrNoRepository) || err == nil && !i.Binlog.Ships() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	known, err := wire.KnownRepositoryID(a.dirs)
	if err != nil {
		return nil, err
	}
	out := &binlogShipping{}
	state := offsite.ReadState(a.dirs.BinlogArchive(i))
	if state != nil {
		out.State = *state
	}
	if state != nil && state.Repository != "" && state.Repository != known {
		state = nil // it was shipped to another one
		out.State = offsite.State{Error: out.Error, Since: out.Since, Retry: out.Retry}
	}
	_, fills, err := a.unshippedFills(i)
	out.UnshippedBytes = state.Unshipped(sizesOf(logs)) + fills
	return out, err
}

// rows tell it to people.
func (s *binlogShipping) rows(t table) {
	if s == nil {
		t.row("Shipped", "no: there is no repository for it")
		return
	}
	upTo := "nothing yet"
	if s.File != "" {
		upTo = fmt.Sprintf("%s:%d, of %s UTC", printable(s.File), s.Offset, s.Time.UTC().Format(toMinute))
	}
	t.row("Shipped up to", upTo)
	if !s.At.IsZero() {
		t.row("Last shipped", s.At.UTC().Format(toMinute)+" UTC")
	}
	t.row("Not shipped", humanize.IBytes(uint64(s.UnshippedBytes)))
	if s.Error != "" {
		t.row("Shipping fails", fmt.Sprintf("since %s UTC: %s", s.Since.UTC().Format(toMinute), printable(s.Error)))
		if wait := time.Until(s.Retry); wait > 0 {
			t.row("Tried again", "in "+wait.Round(time.Second).String())
		}
	}
}
