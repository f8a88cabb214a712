package pitr

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
)

// Reach is which moments can be had from a point with some logs, as the logs are described: nothing of them is read but their beginnings.
type Reach struct {
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	ToPosition string    `json:"to_position,omitempty"`
	// Then is why it ends there, where there are later logs, or why nothing can be had but the point itself.
	Then string `json:"then,omitempty"`
}

// Reachable tells the reach of a point.
func Reachable(ctx context.Context, point *catalog.Point, logs Logs) (*Reach, error) {
	out := &Reach{From: point.TakenAt, To: point.TakenAt}
	f := &finder{ctx: ctx, from: StandOf(point), logs: logs, way: &Way{}}
	if err := f.prepare(); err != nil {
		return nil, err
	}
	s, err := f.start()
	var no *Refusal
	if errors.As(err, &no) {
		out.Then = no.why
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	last := logs.All[s.log]
	for _, l := range logs.All[s.log+1:] {
		if l.Gap != "" {
			out.Then = fmt.Sprintf("a gap before %s: %s", l.Name, l.Gap)
			break
		}
		last = l
	}
	if last.Last.After(out.To) {
		out.To = last.Last
	}
	if out.Then == "" && logs.Until.After(out.To) {
		out.To = logs.Until
	}
	out.ToPosition = fmt.Sprintf("%s:%d", last.Name, last.Size)
	return out, nil
}
