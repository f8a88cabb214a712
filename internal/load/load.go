// Package load puts dumps into a running server: several tables at once, each checked, and only then in the place of the live ones.
//
// A load makes its tables in a schema of its own, the landing, one a database of the dump, whose name follows from the dump. There a table
// says which others are done: that is the ledger. A load that is killed leaves its landing, and the same command goes on with it: what is
// done is not loaded again, what is half done is dropped. When all are there and checked, they move to a staging, and package swap puts
// them in place with one RENAME. Until then no live table is touched.
//
// The statements go through a connection of our own, not through the server's client: so a file from anywhere can do no more than make and
// fill its tables (see meaning), and secondary indexes can be made after the rows.
package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
	"github.com/holdstill/holdstill/internal/undo"
)

// Request says what to load.
type Request struct {
	Dir      string        // with the dump
	Tables   []schema.Name // or
	Database string        // all of it, with its views and code
	As       schema.Name   // another name: of the one table, or of the database; nothing may have it yet
	Threads  int           // tables at once; 0: by the machine's processors
	Restart  bool          // drop what an earlier load left, and begin anew
}

// Deps is what a load needs from others.
type Deps struct {
	Log  *slog.Logger
	Tell func(Event) // nil: nobody listens
}

// Event is progress, in bytes of the dump's files.
type Event struct{ Done, Total int64 }

// One is a table that was loaded.
type One struct {
	From    schema.Name `json:"from"`
	To      schema.Name `json:"to"`
	Rows    int64       `json:"rows"`
	Checked string      `json:"checked"`           // what was compared after the load
	Changes []string    `json:"changes,omitempty"` // what was translated for another product
	MS      float64     `json:"ms"`
	Before  bool        `json:"before,omitempty"` // an earlier run had loaded it
}

// Result is what there is now.
type Result struct {
	Directory string       `json:"directory"`
	Point     string       `json:"point,omitempty"`
	Instance  string       `json:"instance"`
	Tables    []One        `json:"tables"`
	Code      []string     `json:"code,omitempty"`
	Swap      *swap.Result `json:"swap"`
	MS        float64      `json:"ms"`
	Warnings  []string     `json:"warnings"`
}

// Refusal is a request that cannot be met; nothing was touched.
type Refusal struct{ What, Remedy string }

func (e *Refusal) Error() string { return "cannot load: " + e.What }

// Hint says what to do.
func (e *Refusal) Hint() string { return e.Remedy }

// Load loads a dump, and puts its tables in place. After an error the caller unwinds the run; what is loaded stays in the landing.
func Load(ctx context.Context, run *undo.Run, r Request, live swap.Live, deps Deps) (*Result, error) {
	begun := time.Now()
	site, err := swap.Survey(ctx, live)
	if err != nil {
		return nil, err
	}
	plan, err := decide(r, site, live.LocalOnly)
	if err != nil {
		return nil, err
	}
	plan.warnOfRoom(live.Datadir, deps.Log)
	landing, err := land(ctx, plan, live, r.Restart)
	if err != nil {
		return nil, err
	}
	defer landing.close()
	plan.warnings = append(plan.warnings, abandoned(site.Server, landing.schema)...)
	j := &job{Request: r, plan: plan, live: live, deps: deps, landing: landing}
	if err := j.all(ctx); err != nil {
		return nil, fmt.Errorf("the load is not finished, and no live table is touched; the same command goes on with it: %w", err)
	}
	result := &Result{Directory: r.Dir, Point: plan.point, Instance: live.Instance, Warnings: append([]string{}, plan.warnings...)}
	if result.Swap, err = j.place(ctx, run); err != nil {
		return nil, landing.keeps(err)
	}
	for _, c := range plan.code {
		result.Code = append(result.Code, c.Title)
	}
	for _, t := range plan.tables {
		result.Tables = append(result.Tables, t.done.One)
	}
	result.MS = float64(time.Since(begun).Milliseconds())
	return result, landing.drop(ctx)
}

// place swaps what is loaded with what is live. If that cannot be, the tables go back to the landing, for the next attempt.
func (j *job) place(ctx context.Context, run *undo.Run) (*swap.Result, error) {
	var lent []swap.Lent
	var moves []swap.Move
	for i, t := range j.plan.tables {
		if t.inPlace {
			continue
		}
		l := swap.Lent{Staged: staged(i), Home: schema.Name{Database: j.landing.schema, Table: t.from.Table}}
		lent = append(lent, l)
		moves = append(moves, swap.Move{Staged: l.Staged, Target: t.Target, Triggers: t.Triggers, Keys: t.Keys})
	}
	staging, err := swap.Stage(ctx, run, j.live, lent...)
	if err != nil {
		return nil, err
	}
	defer staging.Close()
	if d := j.plan.make; d != nil {
		if err := staging.MakeDatabase(ctx, &schema.Database{Name: d.Name, Charset: d.Charset, Collation: d.Collation, Encrypted: d.Encrypted}); err != nil {
			return nil, err
		}
	}
	if err := j.sequences(ctx, staging); err != nil {
		return nil, err
	}
	return staging.Swap(ctx, moves, j.plan.code...)
}

func staged(i int) string { return fmt.Sprintf("t%d", i) }

// sequences puts those in their places that the live server lacks, and gives the columns their defaults, which need them.
func (j *job) sequences(ctx context.Context, staging *swap.Staging) error {
	for _, t := range j.plan.tables {
		here := schema.Name{Database: j.landing.schema, Table: t.from.Table}
		if !t.inPlace {
			continue
		}
		if err := staging.MakeSequence(ctx, t.Target, "RENAME TABLE "+here.SQL()+" TO "+t.Target.SQL()); err != nil {
			return err
		}
	}
	for i, t := range j.plan.tables {
		for _, d := range t.done.Defaults {
			at := schema.Name{Database: staging.Schema, Table: staged(i)}
			if err := staging.Exec(ctx, "ALTER TABLE "+at.SQL()+" "+d.with(j.plan.renamed(d.Sequence))); err != nil {
				return err
			}
		}
	}
	return nil
}

var errNoDump = errors.New("there is no dump")

// codeParts are the files that are made after the tables, in this order.
var codeParts = []dumpfile.Part{dumpfile.Routines, dumpfile.Views, dumpfile.Events}
