package pitr

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdstill/holdstill/internal/catalog"
)

// Needed tells the first log that any of the points is gone on from, and which point that is; 0 and nil: all are needed, or nobody knows.
func Needed(ctx context.Context, points []*catalog.Point, logs Logs) (first int, by *catalog.Point, err error) {
	first = len(logs.All)
	for _, p := range points {
		f := &finder{ctx: ctx, from: StandOf(p), logs: logs, way: &Way{}}
		if err := f.prepare(); err != nil {
			return 0, nil, err
		}
		s, err := f.start()
		var no *Refusal
		switch {
		case errors.As(err, &no) && (p.Consistency != catalog.Application || p.Position.File == "" || p.TakenAt.Before(logs.First())):
			continue // there is no way on from it, whatever is kept
		case errors.As(err, &no):
			return 0, nil, fmt.Errorf("point %s should be in %s: %s", p.ID, logs.From, no.why)
		case err != nil:
			return 0, nil, err
		case s.log < first:
			first, by = s.log, p
		}
	}
	if by == nil {
		return 0, nil, nil
	}
	return first, by, nil
}
