package dump

import (
	"context"
	"io"
	"log/slog"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
)

// Stream hands the dumps of single tables over as text, for those who load them at once: nothing is written to a disk.
type Stream struct {
	Held     *schema.Server
	Warnings []string // what a dump of them lacks or rounds
	job      *job
}

// Open prepares to dump these tables of a server on which nothing else writes.
func Open(ctx context.Context, src Source, names []schema.Name, log *slog.Logger) (*Stream, error) {
	job, err := prepare(ctx, src, Request{Names: names}, Deps{Log: log})
	if err != nil {
		return nil, err
	}
	return &Stream{Held: job.held, Warnings: job.plan.warnings, job: job}, nil
}

// Write writes one table's dump. past tells whether the past of a system-versioned table is in it.
func (s *Stream) Write(ctx context.Context, n schema.Name, w io.Writer) (counted dumpfile.Counted, past bool, err error) {
	t := s.Held.Table(n)
	if t == nil {
		return counted, false, &schema.AbsentError{Names: []schema.Name{n}, Where: []string{""}}
	}
	past = t.Kind == schema.Versioned && s.job.tool.history(s.Held)
	counted, err = s.job.run(ctx, s.job.arguments(task{part: dumpfile.Rows, database: t.Database, table: *t}), w)
	return counted, past, err
}
