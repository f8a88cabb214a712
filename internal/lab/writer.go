package lab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// WriterOptions say how a Writer loads a server.
type WriterOptions struct {
	Table   string // schema.table, made when missing; default sampledb.sampletable
	Workers int    // default 4, each with a connection of its own
	Words   []string
	TCP     bool          // as user labwriter over TCP, instead of root over the socket
	Pause   time.Duration // between a worker's commits
}

// Ack is one commit that the server acknowledged: the independent truth about what a restore must hold.
type Ack struct {
	ID      int64
	At      time.Time // when the acknowledgement arrived
	Latency time.Duration
	Worker  int
}

// WriterError is one commit whose fate is unknown: the row may be there or not.
type WriterError struct {
	At  time.Time
	Err error
}

// Writer commits single rows as fast as the server lets it. It keeps everything in memory, since a frozen file system must not stop
// the witness, and it goes on after errors, so that it sees the server come back.
type Writer struct {
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	db      *sql.DB
	insert  string
	options WriterOptions

	mu     sync.Mutex
	acked  []Ack
	errors []WriterError
}

// WriterResult is what a Writer saw, acks in the order in which they arrived.
type WriterResult struct {
	Acked  []Ack
	Errors []WriterError
}

// Write starts a Writer. It ends with Stop, or with the context.
func (s *Server) Write(ctx context.Context, o WriterOptions) (*Writer, error) {
	if o.Table == "" {
		o.Table = "sampledb.sampletable"
	}
	if o.Workers == 0 {
		o.Workers = 4
	}
	if len(o.Words) == 0 {
		o.Words = []string{"hold", "freeze", "cut", "thaw", "resume"}
	}
	table, err := s.makeTable(ctx, o.Table)
	if err != nil {
		return nil, fmt.Errorf("cannot start a writer on %s: %w", s.Name, err)
	}
	db, err := s.writerDB(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("cannot start a writer on %s: %w", s.Name, err)
	}
	db.SetMaxIdleConns(o.Workers) // else the pool closes connections between commits
	db.SetMaxOpenConns(o.Workers)
	w := &Writer{db: db, options: o, insert: "INSERT INTO " + table + " (word, written_at) VALUES (?, NOW(6))"}
	ctx, w.cancel = context.WithCancel(ctx)
	for worker := range o.Workers {
		w.wait.Go(func() { w.work(ctx, worker) })
	}
	return w, nil
}

func (s *Server) makeTable(ctx context.Context, name string) (string, error) {
	schema, table, err := splitTable(name)
	if err != nil {
		return "", err
	}
	full := ident(schema) + "." + ident(table)
	return full, s.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+ident(schema),
		"CREATE TABLE IF NOT EXISTS "+full+" (id BIGINT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(64), written_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)) ENGINE=InnoDB")
}

func (s *Server) writerDB(ctx context.Context, o WriterOptions) (*sql.DB, error) {
	if !o.TCP {
		return s.DB()
	}
	if s.Netns != "" {
		return nil, errors.New("TCP does not reach into its namespace from here")
	}
	user := "'labwriter'@'%'"
	schema, _, err := splitTable(o.Table)
	if err != nil {
		return nil, err
	}
	if err := s.Exec(ctx, s.Build.createUser(user, "labwriterpw"), "GRANT ALL ON "+ident(schema)+".* TO "+user); err != nil {
		return nil, err
	}
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr = "labwriter", "labwriterpw", "tcp", fmt.Sprintf("%s:%d", s.Bind, s.Port)
	return open(config)
}

func (w *Writer) work(ctx context.Context, worker int) {
	for i := worker; ctx.Err() == nil; i += w.options.Workers {
		began := time.Now()
		// the commit itself is not cancelled: a cancelled one would be neither acknowledged nor failed
		result, err := w.db.ExecContext(context.WithoutCancel(ctx), w.insert, w.options.Words[i%len(w.options.Words)])
		now := time.Now()
		if err != nil {
			w.fail(WriterError{At: now, Err: err})
			pause(ctx, 20*time.Millisecond)
			continue
		}
		id, err := result.LastInsertId()
		if err != nil {
			w.fail(WriterError{At: now, Err: err})
			continue
		}
		w.ack(Ack{ID: id, At: now, Latency: now.Sub(began), Worker: worker})
		pause(ctx, w.options.Pause)
	}
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (w *Writer) ack(a Ack) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked = append(w.acked, a)
}

func (w *Writer) fail(e WriterError) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errors = append(w.errors, e)
}

// Seen is what the writer has seen so far; it goes on.
func (w *Writer) Seen() WriterResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	return WriterResult{Acked: append([]Ack{}, w.acked...), Errors: append([]WriterError{}, w.errors...)}
}

// Since is what was acknowledged after the moment, in the order in which it arrived.
func (w *Writer) Since(moment time.Time) []Ack {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := len(w.acked)
	for first > 0 && w.acked[first-1].At.After(moment) {
		first--
	}
	return append([]Ack{}, w.acked[first:]...)
}

// Stop lets every worker finish its commit and gives what they saw. It may be called again.
func (w *Writer) Stop() WriterResult {
	w.cancel()
	w.wait.Wait()
	_ = w.db.Close()
	return w.Seen()
}
