package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

const writers = 4

// commit is one commit as its client saw it.
type commit struct {
	began, ended time.Time
}

func (c commit) took() time.Duration { return c.ended.Sub(c.began) }

// load is four writers that commit single rows, and a prober with a connection and a table of its own that does the same and keeps
// the time of every commit. Nothing paces them: each commits as soon as its last commit was acknowledged.
type load struct {
	db     *sql.DB
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu      sync.Mutex
	commits []commit // the prober's
	rows    int      // of all
	err     error
}

func startLoad(ctx context.Context, s *lab.Server) (*load, error) {
	db, err := s.DB()
	if err != nil {
		return nil, err
	}
	l := &load{db: db}
	ctx, l.cancel = context.WithCancel(ctx)
	for worker := range writers {
		l.client(ctx, fmt.Sprintf("INSERT INTO bench.load_rows (worker, note) VALUES (%d, 'a row that somebody waits for')", worker), func(commit) {})
	}
	l.client(ctx, "INSERT INTO bench.probe () VALUES ()", func(c commit) { l.commits = append(l.commits, c) })
	select { // connections, first pages: not what is measured
	case <-ctx.Done():
	case <-time.After(2 * time.Second):
	}
	return l, nil
}

func (l *load) client(ctx context.Context, insert string, keep func(commit)) {
	l.wait.Go(func() {
		conn, err := l.db.Conn(ctx)
		if err != nil {
			l.fail(err)
			return
		}
		defer conn.Close()
		for ctx.Err() == nil {
			c := commit{began: time.Now()}
			_, err := conn.ExecContext(context.WithoutCancel(ctx), insert)
			c.ended = time.Now()
			if err != nil {
				l.fail(err)
				return
			}
			l.mu.Lock()
			l.rows++
			keep(c)
			l.mu.Unlock()
		}
	})
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, fmt.Errorf("the write load failed: %w", err))
}

func (l *load) stop() error {
	l.cancel()
	l.wait.Wait()
	err := l.db.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, err)
}

// between gives what the prober's commits took that overlap the time, sorted.
func (l *load) between(from, to time.Time) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []time.Duration
	for _, c := range l.commits {
		if c.ended.After(from) && c.began.Before(to) {
			out = append(out, c.took())
		}
	}
	slices.Sort(out)
	return out
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows
}

// percentile of sorted times, by nearest rank.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(p/100*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
