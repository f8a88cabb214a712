// Package dump writes per-table dumps of a server with the server's own dump tool: one file a table, several at once, largest first,
// compressed on the way; then the definitions, the code and the accounts. The form of the directory is internal/dumpfile's.
//
// The server is one on which nothing else writes (a scratch server on a point), so the tables need no common snapshot. Of a live server,
// see Live.
//
// A dump that is killed leaves a directory that says that it is unfinished. The next dump of the same point goes on where it was: the content
// of a point does not change.
package dump

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/schema"
)

// Source is the server to dump.
type Source struct {
	DB       *sql.DB
	Endpoint database.Endpoint
	Program  string // the server's executable: its dump tool lies beside it
	Tool     string // the dump tool, where it is not to be looked for
}

// Request says what to dump, and where to.
type Request struct {
	Dir         string        // absent, empty, or with an unfinished dump of the same point
	Names       []schema.Name // none: everything
	Threads     int           // tables at once; 0: by the machine's processors
	Compression dumpfile.Compression
	NoSums      bool // leave the content's checksums out; the rows are counted all the same
	Live        bool // set by Live

	Warnings []string // that the manifest keeps too

	// Where the content comes from, for the headers and the manifest.
	Point    string
	Instance string
	Moment   time.Time
	Position database.Position
	Sources  []database.Channel
}

// Deps are what a dump works with.
type Deps struct {
	Log  *slog.Logger
	Tell func(Event) // nil: nobody listens
}

// Event is progress: of the estimated bytes of all tables, so many are done.
type Event struct {
	Done, Total int64
	Table       schema.Name
}

// Refusal is a request that cannot be met; nothing was written.
type Refusal struct {
	What, Remedy string
}

func (e *Refusal) Error() string { return "cannot dump: " + e.What }

// Hint says what to do.
func (e *Refusal) Hint() string { return e.Remedy }

// Dump writes a dump and returns its manifest. What is wrong with the request is told before anything is written.
func Dump(ctx context.Context, src Source, r Request, deps Deps) (*dumpfile.Manifest, error) {
	job, err := prepare(ctx, src, r, deps)
	if err != nil {
		return nil, err
	}
	return job.finish(func() ([]dumpfile.File, error) { return job.all(ctx) })
}

// finish writes the files, and the manifest that makes them a dump.
func (j *job) finish(write func() ([]dumpfile.File, error)) (*dumpfile.Manifest, error) {
	journal, err := begin(j.Request)
	if err != nil {
		return nil, err
	}
	if err := fault.At("dump.begun"); err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	j.journal = journal
	files, err := write()
	if err == nil {
		err = fault.At("dump.manifest")
	}
	if err != nil {
		next := "the same command goes on with it"
		if j.Live {
			next = "and cannot be gone on with, as its transaction is over: the same command begins again"
		}
		return nil, errors.Join(fmt.Errorf("the dump in %s is not finished, %s: %w", j.Dir, next, err), journal.Close())
	}
	manifest := j.manifest(files)
	return manifest, errors.Join(manifest.Write(j.Dir), journal.Close())
}

// prepare reads what there is, decides what to write, and tells what will not be in it.
func prepare(ctx context.Context, src Source, r Request, deps Deps) (*job, error) {
	held, err := schema.Read(ctx, src.DB)
	if err != nil {
		return nil, err
	}
	plan, err := decide(r, held)
	if err != nil {
		return nil, err
	}
	tool, err := findTool(ctx, src, held, plan)
	if err != nil {
		return nil, err
	}
	plan.warnings = append(plan.warnings, r.Warnings...)
	if tool.Warning != "" {
		plan.warnings = append(plan.warnings, tool.Warning)
	}
	if err := warnOfFloats(ctx, src, plan, r.Live); err != nil {
		return nil, err
	}
	for _, w := range plan.warnings {
		deps.Log.Warn(w)
	}
	return &job{Request: r, source: src, tool: tool, held: held, plan: plan, deps: deps}, nil
}

func (j *job) manifest(files []dumpfile.File) *dumpfile.Manifest {
	m := &dumpfile.Manifest{
		Format: dumpfile.Format, Point: j.Point, Live: j.Live, Instance: j.Instance, Moment: j.Moment.UTC(), Product: j.held.Product, Version: j.held.Version,
		Tool: j.tool.Says, Position: j.Position, Sources: append([]database.Channel{}, j.Sources...), Files: files,
		Databases: []dumpfile.Database{}, Warnings: j.plan.warnings,
	}
	for _, d := range j.held.Databases {
		if j.plan.touches(d.Name) {
			m.Databases = append(m.Databases, dumpfile.Database{Name: d.Name, Charset: d.Charset, Collation: d.Collation, Encrypted: d.Encrypted})
		}
	}
	return m
}
