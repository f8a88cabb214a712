package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/wire"
)

// archives are an instance's archive on this machine, and those beside it of what was read later to fill its gaps.
func (a *app) archives(i *config.Instance) (kept *archive.Archive, fills []*archive.Archive, err error) {
	if kept, err = archive.Open(a.dirs.BinlogArchive(i)); err != nil {
		return nil, nil, err
	}
	fills, err = kept.Fills()
	return kept, fills, err
}

// unshippedFills are the directories of what was read later to fill gaps of an archive, as far as it is whole and not in the repository; and their bytes
// that are not there.
func (a *app) unshippedFills(i *config.Instance) (dirs []string, bytes int64, err error) {
	_, fills, err := a.archives(i)
	if err != nil || len(fills) == 0 {
		return nil, 0, err
	}
	known, err := wire.KnownRepositoryID(a.dirs)
	if err != nil {
		return nil, 0, err
	}
	for _, f := range fills {
		logs, err := f.Logs()
		if err != nil {
			return nil, 0, err
		}
		if len(logs) == 0 || !logs[len(logs)-1].Closed {
			continue
		}
		state := offsite.ReadState(f.Dir())
		if state != nil && state.Repository != known {
			state = nil
		}
		if n := state.Unshipped(sizesOf(logs)); n > 0 {
			dirs, bytes = append(dirs, f.Dir()), bytes+n
		}
	}
	return dirs, bytes, nil
}

// sizesOf are the bytes of logs, by their places.
func sizesOf(logs []archive.Log) map[int]int64 {
	out := map[int]int64{}
	for _, l := range logs {
		out[l.Seq] = l.Size
	}
	return out
}

// shipFills sends them.
func (a *app) shipFills(ctx context.Context, i *config.Instance, shipper func() *offsite.Shipper) error {
	dirs, _, err := a.unshippedFills(i)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		s := shipper()
		s.Dir = dir
		if err := s.Once(ctx); err != nil {
			return fmt.Errorf("cannot ship what fills a gap: %w", err)
		}
	}
	return nil
}

// lookForFills is between two looks at whether there are some.
const lookForFills = 30 * time.Second

// shipFillsAlways sends them until the context ends.
func (a *app) shipFillsAlways(ctx context.Context, i *config.Instance, shipper func() *offsite.Shipper) {
	told := ""
	for {
		if err := a.shipFills(ctx, i, shipper); err != nil && ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			a.log.Warn(told, "instance", i.Name)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookForFills):
		}
	}
}
