package demo

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const createTable = "CREATE TABLE sampledb.sampletable (id BIGINT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(64) NOT NULL, " +
	"written_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))"

// writer commits random words, one row after the other.
type writer struct {
	db    *sql.DB
	words []string

	gate sync.Mutex // held during each commit, so that who holds it has paused the writer

	mu    sync.Mutex
	seen  commits
	since commits // since the mark

	stop context.CancelFunc
	over chan struct{}
}

// commits are how many there were, and the slowest.
type commits struct {
	commits int
	worst   time.Duration
}

func (c *commits) add(took time.Duration) {
	c.commits++
	c.worst = max(c.worst, took)
}

func newWriter(dir string) (*writer, error) {
	list, err := words()
	if err != nil {
		return nil, err
	}
	db, err := open(dir, nodeA)
	if err != nil {
		return nil, err
	}
	return &writer{db: db, words: list}, nil
}

// write commits rows until the context ends; that is no error.
func (w *writer) write(ctx context.Context) error {
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("the writer cannot reach node-a: %w", err)
	}
	defer conn.Close()
	for ctx.Err() == nil {
		w.gate.Lock()
		began := time.Now()
		// the commit itself is not cancelled: nobody would know whether the row is there
		_, err := conn.ExecContext(context.WithoutCancel(ctx), "INSERT INTO sampledb.sampletable (word) VALUES (?)", w.words[rand.IntN(len(w.words))])
		took := time.Since(began)
		w.gate.Unlock()
		if err != nil {
			return fmt.Errorf("the writer cannot write to node-a: %w", err)
		}
		w.mu.Lock()
		w.seen.add(took)
		w.since.add(took)
		w.mu.Unlock()
	}
	return nil
}

func (w *writer) mark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = commits{}
}

func (w *writer) sinceMark() commits {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since
}

func (w *writer) total() commits {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// startWriter lets it write in the background; if it fails, so does the demo.
func (d *demo) startWriter(ctx context.Context) error {
	w, err := newWriter(d.Dir)
	if err != nil {
		return err
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.over = make(chan struct{})
	go func() {
		defer close(w.over)
		if err := w.write(ctx); err != nil {
			d.abort(aborted{err})
		}
	}()
	d.writer = w
	return nil
}

// firstRows waits until the writer has got going.
func (d *demo) firstRows(ctx context.Context) error {
	for d.writer.total().commits < 100 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return d.caughtUp(ctx, nodeB)
}

func (d *demo) stopWriter() {
	if d.writer == nil {
		return
	}
	d.writer.stop()
	select {
	case <-d.writer.over:
		_ = d.writer.db.Close()
	case <-time.After(5 * time.Second):
		// its commit hangs, perhaps in a file system that a killed holdstill left frozen: cleaning up ends it
	}
	d.writer = nil
}

// Write is the writer by hand, in a demo that runs or was kept. It ends with the context, and then says what it wrote.
func Write(ctx context.Context, o Options) error {
	o, err := o.filled()
	if err != nil {
		return err
	}
	leave, err := visit(o.Dir)
	if err != nil {
		return err
	}
	defer leave()
	w, err := newWriter(o.Dir)
	if err != nil {
		return err
	}
	defer w.db.Close()
	s := newStory(o.Out)
	s.line("Writing random words into sampledb.sampletable on node-a. Stop with ctrl-C.")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- w.write(ctx)
	}()
	began := time.Now()
	for again := true; again; {
		w.mark()
		select {
		case <-ctx.Done():
			again = false
		case <-time.After(time.Second):
			seen := w.sinceMark()
			s.line(fmt.Sprintf("%s  %6d rows/s   slowest commit %8s", time.Now().Format(time.TimeOnly), seen.commits, milliseconds(inMS(seen.worst))))
		}
	}
	err = <-ended
	seen := w.total()
	s.line(fmt.Sprintf("%d rows in %s, slowest commit %s", seen.commits, seconds(time.Since(began)), milliseconds(inMS(seen.worst))))
	return err
}
