package restore

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strconv"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// Scratch is a server on a writable copy of a point, to look at it or to take things out of it. Nobody reaches it but over its socket, it
// follows nobody, runs no events and has little memory; and whatever is done to it, the point stays as it is.
type Scratch struct {
	DB *sql.DB
	// Endpoint is how to log in: over the socket, as to the instance.
	Endpoint database.Endpoint
	Datadir  string
	Program  Program
	Point    *catalog.Point
}

// WithScratch starts a server on a writable copy of the point, calls do, and takes all of it away again. The copy is made in an instant
// where the storage can (snapshot.Brancher); of what comes from elsewhere only the files that the server opens are read. It lives in
// r.Scratch, a directory that must be absent. A request that goes Onward does so before.
func WithScratch(ctx context.Context, run *undo.Run, r Request, deps Deps, do func(context.Context, *Scratch) error) (*Result, error) {
	r.Start, r.InPlace = false, false
	world, err := Look(ctx, r, deps)
	if err != nil {
		return nil, err
	}
	defer func() { _ = world.Close() }()
	plan, err := Decide(r, world)
	if err != nil {
		return nil, err
	}
	j := Begin(run, plan, deps)
	err = j.scratch(ctx, do)
	return &j.Result, errors.Join(err, j.takeBack(ctx))
}

func (j *Job) scratch(ctx context.Context, do func(context.Context, *Scratch) error) error {
	if err := j.layer(ctx); err != nil {
		return err
	}
	if err := j.Configure(ctx); err != nil {
		return err
	}
	db, process, err := j.recovered(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	expendable(process.PID)
	if onward := j.onward(); onward != nil {
		if err := onward(ctx, db); err != nil {
			return err
		}
	}
	return do(ctx, &Scratch{DB: db, Endpoint: j.Endpoint(), Datadir: j.Plan.Request.Datadir,
		Program: j.Plan.Server, Point: j.Plan.Request.Point})
}

// takeBack takes back all that the job did, last first.
func (j *Job) takeBack(ctx context.Context) error {
	var all []error
	for i := len(j.receipts) - 1; i >= 0; i-- {
		all = append(all, j.Run.Undo(ctx, j.receipts[i]))
	}
	return errors.Join(all...)
}

// expendable makes the kernel kill the scratch server first, when memory runs out, and not the one beside it.
func expendable(pid int) {
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("900"), 0o600)
}

// scratchPool is the buffer pool of a scratch server, in bytes.
const scratchPool = 256 << 20

// scratchOptions make it small, and care for speed alone: nothing that it writes is kept.
func (p *Plan) scratchOptions() {
	f := &p.Options
	if l, ok := effective(f.Lines, "innodb_buffer_pool_size"); !ok || parseSize(l.Value) > scratchPool {
		f.Set("innodb_buffer_pool_size", strconv.Itoa(scratchPool), "a scratch server is a guest")
	}
	f.Unset("innodb_buffer_pool_instances", "innodb_buffer_pool_chunk_size")
	f.Set("innodb_flush_log_at_trx_commit", "0", "")
	f.Set("sync_binlog", "0", "")
	if p.Request.Onward == nil {
		f.Set("performance_schema", "OFF", "")
	}
}
