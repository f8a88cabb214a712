package main

import (
	"context"
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// base is what commits take without any backup.
type base struct {
	p50, p99, p999, worst time.Duration
	commits               int
	perSecond             float64
}

// contestant is one way to back a server up. A run returns its window, from the first moment that its lock can stall a commit to
// the release of the lock; it cleans up after itself in tidy, which is not measured.
type contestant struct {
	name string
	runs int
	run  func(context.Context) (window time.Duration, err error)
	tidy func(context.Context) error
}

// result is the medians of a contestant's runs, in milliseconds.
type result struct {
	name                string
	runs                int
	worst, window, took float64
	worsts, windows     []float64
}

const settle = 500 * time.Millisecond // stalls that come late, such as the flush of a large snapshot, count too

// measureBase watches commits without a backup.
func measureBase(ctx context.Context, l *load, d time.Duration) (base, error) {
	began, rows := time.Now(), l.count()
	if err := sleep(ctx, d); err != nil {
		return base{}, err
	}
	times := l.between(began, time.Now())
	if len(times) == 0 {
		return base{}, fmt.Errorf("the prober has not committed anything in %s", d)
	}
	return base{
		p50: percentile(times, 50), p99: percentile(times, 99), p999: percentile(times, 99.9), worst: times[len(times)-1],
		commits: len(times), perSecond: float64(l.count()-rows) / time.Since(began).Seconds(),
	}, nil
}

// measure lets a contestant run under the load.
func measure(ctx context.Context, l *load, c contestant) (result, error) {
	r := result{name: c.name, runs: c.runs}
	var took []float64
	for range c.runs {
		began := time.Now()
		window, err := c.run(ctx)
		if err != nil {
			return r, fmt.Errorf("%s: %w", c.name, err)
		}
		ended := time.Now()
		if err := sleep(ctx, settle); err != nil {
			return r, err
		}
		times := l.between(began, ended.Add(settle))
		if len(times) == 0 {
			return r, fmt.Errorf("%s: the prober has not committed anything", c.name)
		}
		r.worsts = append(r.worsts, ms(times[len(times)-1]))
		r.windows = append(r.windows, ms(window))
		took = append(took, ms(ended.Sub(began)))
		if err := c.tidy(ctx); err != nil {
			return r, fmt.Errorf("%s: cannot tidy up: %w", c.name, err)
		}
		if err := sleep(ctx, 2*time.Second); err != nil { // the next one must not pay for this one's writes
			return r, err
		}
	}
	r.worst, r.window, r.took = median(r.worsts), median(r.windows), median(took)
	return r, nil
}

// contest measures the base and every contestant on one server under one load.
func contest(ctx context.Context, g *ground, r *report, title string, s *lab.Server, contestants ...contestant) (err error) {
	l, err := startLoad(ctx, s)
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := l.stop(); err == nil {
			err = stopErr
		}
		if stopErr := s.Stop(context.WithoutCancel(ctx)); err == nil { // the next server has the machine for itself
			err = stopErr
		}
	}()
	r.heading(title)
	b, err := measureBase(ctx, l, g.base)
	if err != nil {
		return err
	}
	r.base(title, b)
	for _, c := range contestants {
		measured, err := measure(ctx, l, c)
		if err != nil {
			return err
		}
		r.contestant(title, b, measured)
	}
	r.ratios(title)
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
