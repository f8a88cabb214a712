package dump

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/schema"
)

// Live writes a dump of a running server: all rows by one process of the dump tool, in one transaction, whose text is split into the
// files of the tables on its way. Commits are held while the transaction begins, so the coordinates are exactly those of the rows.
// The definitions and the code are read right after that; no server holds them in a transaction.
func Live(ctx context.Context, src Source, r Request, still Still, deps Deps) (*dumpfile.Manifest, error) {
	r.Point, r.Live, r.NoSums = "", true, true
	job, err := prepare(ctx, src, r, deps)
	if err != nil {
		return nil, err
	}
	frame, err := job.frame(ctx)
	if err != nil {
		return nil, err
	}
	return job.finish(func() ([]dumpfile.File, error) {
		files, err := job.live(ctx, still, frame)
		return files, errors.Join(changed(err), ctx.Err())
	})
}

// live takes the snapshot, and writes every file: the rows, and beside them one after the other the rest.
func (j *job) live(ctx context.Context, still Still, frame *frame) ([]dumpfile.File, error) {
	begun, err := j.snapshot(ctx, still)
	if err != nil {
		return nil, err
	}
	var rows map[schema.Name]dumpfile.File
	var others []dumpfile.File
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		rows, err = j.split(inner, begun, frame)
		return err
	})
	group.Go(func() error {
		for _, t := range j.tasks(false) {
			f, err := j.one(inner, t)
			if err != nil {
				return err
			}
			others = append(others, f)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var files []dumpfile.File
	for _, t := range j.tasks(true) {
		files = append(files, rows[t.table.FullName()])
	}
	return append(files, others...), nil
}

// tasks are those of the rows, or all others.
func (j *job) tasks(rows bool) (out []task) {
	for _, t := range j.plan.tasks {
		if (t.part == dumpfile.Rows) == rows {
			out = append(out, t)
		}
	}
	return out
}

// snapshot starts the tool while commits are held, and notes where the server stands. nil where there are no rows to read.
func (j *job) snapshot(ctx context.Context, still Still) (begun *reading, err error) {
	err = still.hold(ctx, j.deps.Log, func(held context.Context, position database.Position, sources []database.Channel) (err error) {
		begun.stop() // an earlier try's, whose hold was lost
		if len(j.tasks(true)) > 0 {
			if begun, err = j.beginReading(ctx, held); err != nil {
				return err
			}
		}
		j.Position, j.Sources, j.Moment = position, sources, time.Now()
		return fault.At("dump.held")
	})
	if err == nil {
		err = fault.At("dump.snapshot")
	}
	if err != nil {
		begun.stop()
		return nil, err
	}
	j.deps.Log.Info(fmt.Sprintf("The snapshot is of %s", j.Moment.UTC().Format("2006-01-02 15:04:05.000 UTC")), "file", j.Position.File, "offset", j.Position.Offset, "gtid", j.Position.GTID)
	begun.yield()
	return begun, nil
}
