package dump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/schema"
)

// job is a dump under way.
type job struct {
	Request
	source  Source
	tool    *tool
	held    *schema.Server
	plan    *plan
	journal *journal
	deps    Deps
	done    atomic.Int64 // of the estimated bytes
}

// DefaultThreads is how many tables are dumped at once: one a processor, at least 2 and at most 4, since the server works too.
func DefaultThreads() int { return min(4, max(2, runtime.NumCPU())) }

// all writes every file, several at once, and returns them in the plan's order.
func (j *job) all(ctx context.Context) ([]dumpfile.File, error) {
	if j.Threads == 0 {
		j.Threads = DefaultThreads()
	}
	files := make([]dumpfile.File, len(j.plan.tasks))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(j.Threads)
	for i, t := range j.plan.tasks {
		group.Go(func() (err error) {
			if inner.Err() == nil { // else another one failed
				files[i], err = j.one(inner, t)
			}
			return err
		})
	}
	return files, errors.Join(group.Wait(), ctx.Err())
}

// one writes one file, unless an earlier run did.
func (j *job) one(ctx context.Context, t task) (dumpfile.File, error) {
	name := t.file(j.Request)
	if f, done := j.journal.done[name]; done {
		j.deps.Log.Info(fmt.Sprintf("%s is there already", name))
		j.told(t)
		return f, nil
	}
	if t.part == dumpfile.Rows {
		j.deps.Log.Info(fmt.Sprintf("Dumping table %s...", t.table.FullName()))
	}
	f := j.fileOf(t)
	if err := j.write(ctx, t, name, &f); err != nil {
		return f, fmt.Errorf("cannot dump %s: %w", t.what(), err)
	}
	if err := errors.Join(j.journal.add(f), fault.At("dump.noted")); err != nil {
		return f, err
	}
	j.deps.Log.Info(fmt.Sprintf("%s %s", humanize.IBytes(uint64(f.Bytes)), f.Name))
	j.told(t)
	return f, nil
}

func (j *job) fileOf(t task) dumpfile.File {
	return dumpfile.File{Part: t.part, Database: t.database, Table: t.table.Name, Kind: t.table.Kind, Engine: t.table.Engine,
		Past: t.table.Kind == schema.Versioned && j.tool.history(j.held)}
}

func (t task) what() string {
	if t.part == dumpfile.Rows {
		return "the table " + t.table.FullName().String()
	}
	if t.database == "" {
		return "the " + string(t.part)
	}
	return fmt.Sprintf("the %s of %s", t.part, t.database)
}

func (j *job) told(t task) {
	done := j.done.Add(t.table.DataBytes)
	if j.deps.Tell != nil {
		j.deps.Tell(Event{Done: done, Total: j.plan.bytes, Table: t.table.FullName()})
	}
}

// write makes one file while the server sums up the same table: both read the same pages.
func (j *job) write(ctx context.Context, t task, name string, f *dumpfile.File) error {
	p, err := create(j.Dir, name, j.Compression)
	if err != nil {
		return err
	}
	var counted dumpfile.Counted
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		counted, err = j.fill(inner, t, p)
		return err
	})
	if t.part == dumpfile.Rows && t.table.HasRows() && !j.NoSums {
		group.Go(func() error {
			sum, err := schema.SumOf(inner, j.source.DB, t.table.FullName(), f.Past)
			f.Sum = &sum
			return err
		})
	}
	if err := group.Wait(); err != nil {
		p.drop()
		return err
	}
	f.InFile, f.Text = counted.Rows, counted.Bytes
	if f.Sum != nil && f.Sum.Rows != f.InFile {
		p.drop()
		return fmt.Errorf("the file has %d rows, and the server counts %d", f.InFile, f.Sum.Rows)
	}
	return p.whole(f)
}

// fill writes what belongs into a file.
func (j *job) fill(ctx context.Context, t task, p io.Writer) (dumpfile.Counted, error) {
	if _, err := io.WriteString(p, j.header(t)); err != nil {
		return dumpfile.Counted{}, err
	}
	if t.part != dumpfile.Users && t.part != dumpfile.Grants {
		return j.run(ctx, j.arguments(t), p)
	}
	text, err := accounts(ctx, j.source.DB, j.held, t.part)
	if err != nil {
		return dumpfile.Counted{}, err
	}
	_, err = io.WriteString(p, text)
	return dumpfile.Counted{Bytes: int64(len(text))}, errors.Join(err, ctx.Err())
}
