package restore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/undo"
)

// shutdownLimit bounds a clean shutdown.
const shutdownLimit = 10 * time.Minute

// FirstBoot lets the copy recover as the server that it was, without network, replication and events, checks what can be
// proven, calls while (if not nil) as long as the server runs, and shuts it down cleanly.
func (j *Job) FirstBoot(ctx context.Context, while func(context.Context, *sql.DB) error) error {
	db, process, err := j.recovered(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return j.whileUp(ctx, db, process, while)
}

// whileUp calls while (if not nil), and shuts the server down.
func (j *Job) whileUp(ctx context.Context, db *sql.DB, p *Process, while func(context.Context, *sql.DB) error) error {
	var halt *Halt
	if while != nil {
		if err := while(ctx, db); err != nil && !errors.As(err, &halt) {
			return err
		}
	}
	if err := j.shutDown(ctx, db, p); err != nil {
		return err
	}
	if halt != nil {
		return halt
	}
	return nil
}

// recovered boots the copy for the first time, and checks where it stands.
func (j *Job) recovered(ctx context.Context) (*sql.DB, *Process, error) {
	j.deps.Stage("scratch", "booting the copy without network and replication, so that it recovers as the server that it was")
	files := j.binlogEnd()
	db, process, err := j.boot(ctx, "scratch", j.firstArgs())
	if err != nil {
		return nil, nil, err
	}
	if err := j.verify(ctx, db, files); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, process, nil
}

func (j *Job) onward() func(context.Context, *sql.DB) error {
	o := j.Plan.Request.Onward
	if o == nil || o.Do == nil {
		return nil
	}
	return func(ctx context.Context, db *sql.DB) error { return o.Do(ctx, j, db) }
}

// firstArgs come after the option file and win over it.
func (j *Job) firstArgs() []string {
	r := j.Plan.Request
	args := []string{
		"--skip-networking", "--" + strings.ReplaceAll(j.Plan.SkipStart(), "_", "-"), "--event-scheduler=OFF",
		fmt.Sprintf("--server-id=%d", r.Point.Server.ServerID),
		// a clone's list of hot pages is of no use to this boot, and its own would spoil it for the next
		"--loose-innodb-buffer-pool-load-at-startup=OFF", "--loose-innodb-buffer-pool-dump-at-shutdown=OFF",
	}
	if r.Start || r.InPlace {
		// The next boot follows at once and recovers from the redo log again, which is in memory now and soon done. Writing every
		// page that this recovery changed to disk before takes many times longer.
		args = append(args, "--innodb-fast-shutdown=2")
	}
	if !isMariaDB(j.Plan.Server.Product) && ParseVersion(j.Plan.Server.Version).AtLeast(8, 0, 0) {
		// Persisted variables win over the command line: among them can be the event scheduler and the start of replication.
		args = append(args, "--persisted-globals-load=OFF", "--loose-group-replication-start-on-boot=OFF")
		args = append(args, persistedArgs(r.Datadir)...)
	}
	if r.Onward != nil {
		args = append(args, r.Onward.Args...)
	}
	return args
}

// boot promises, starts a server and waits until it answers.
func (j *Job) boot(ctx context.Context, stage string, args []string) (*sql.DB, *Process, error) {
	deed := deedOf(kindServer, stage, "start a server on "+j.Plan.Request.Datadir,
		"kill -9 $(pgrep -f -- "+shellQuoted("--defaults-file="+j.Plan.OptionFilePath())+")",
		serverArgs{Datadir: j.Plan.Request.Datadir, OptionFile: j.Plan.OptionFilePath(), Run: j.Run.ID})
	return j.bootFor(ctx, deed, args)
}

// bootFor does so under a deed that says how it is ended.
func (j *Job) bootFor(ctx context.Context, deed undo.Deed, args []string) (*sql.DB, *Process, error) {
	var db *sql.DB
	process, err := actFor(ctx, j, deed, func(ctx context.Context) (p *Process, err error) {
		if p, err = j.launch(args); err != nil {
			return nil, err
		}
		db, err = j.await(ctx, deed.Stage, p)
		return p, err
	}, nil)
	return db, process, err
}

// await waits until the server answers, dies, or is too late. What the error log tells of the recovery is progress.
func (j *Job) await(ctx context.Context, stage string, p *Process) (*sql.DB, error) {
	ctx, cancel := context.WithTimeout(ctx, j.Plan.Request.Timeout)
	defer cancel()
	db, err := j.deps.Connect(ctx, j.Endpoint())
	if err != nil {
		return nil, fmt.Errorf("cannot log in to the copy: %w", err)
	}
	told, last := "", error(nil)
	for {
		if last = db.PingContext(ctx); last == nil {
			return db, nil
		}
		if refused(last) {
			return nil, errors.Join(db.Close(), &loginError{account: j.Endpoint().User, err: last})
		}
		if line := lastRecovery(p.said()); line != told && line != "" {
			told = line
			j.deps.Tell(Event{Stage: stage, Text: line})
		}
		select {
		case <-p.done:
			_ = db.Close()
			return nil, j.forWant(p, p.failed(fmt.Errorf("the server on the copy ended while it started (%v)", p.err)))
		case <-ctx.Done():
			_ = db.Close()
			return nil, p.failed(fmt.Errorf("the server on the copy does not answer: %w (%w)", last, ctx.Err()))
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// loginError is a server that answers, but not us.
type loginError struct {
	account string
	err     error
}

func (e *loginError) Error() string {
	return fmt.Sprintf("the copy answers, but the account %q cannot log in: %v", e.account, e.err)
}
func (e *loginError) Unwrap() error { return e.err }

// Hint says which account counts.
func (e *loginError) Hint() string {
	return "the accounts in the copy are those of the moment of the point: give one that could log in then, with its client option file"
}

// refused tells an answer that is no from no answer.
func refused(err error) bool {
	var said *mysql.MySQLError
	if !errors.As(err, &said) {
		return false
	}
	return said.Number == 1045 || said.Number == 1698 || said.Number == 1044 || said.Number == 1130
}

// lastRecovery is the newest line of the error log that tells how far a recovery is.
func lastRecovery(said string) string {
	found := ""
	for line := range strings.Lines(said) {
		lower := strings.ToLower(line)
		if strings.Contains(lower, "recover") || strings.Contains(lower, "apply") || strings.Contains(lower, "roll") || strings.Contains(lower, "upgrade") {
			found = strings.TrimSpace(line)
		}
	}
	return found
}

// shutDown ends the scratch server cleanly, and closes its deed.
func (j *Job) shutDown(ctx context.Context, db *sql.DB, p *Process) error {
	j.deps.Stage("scratch", "shutting the copy down")
	_ = db.Close() // an open connection would only delay it
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, shutdownLimit)
	defer cancel()
	if err := p.stop(ctx); err != nil {
		return err
	}
	j.Took("shutdown", begun)
	return j.Run.Undo(ctx, j.receipts[len(j.receipts)-1]) // it finds nothing to kill
}

// Launch changes how StartServer starts a server.
type Launch struct {
	Args []string // after the option file
}

// StartServer starts a server that stays, in a session of its own, and waits until it answers. The caller closes the pool.
func (j *Job) StartServer(ctx context.Context, l Launch) (*sql.DB, error) {
	j.deps.Stage("server", "starting the server on port %d, socket %s", j.Plan.Port, j.Plan.Socket)
	db, process, err := j.boot(ctx, "server", l.Args)
	if err != nil {
		return nil, err
	}
	j.server = process
	j.Result.Running, j.Result.PID = true, process.PID
	j.verified(fmt.Sprintf("the server answers on %s", j.Plan.Socket))
	return db, nil
}
