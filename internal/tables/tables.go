// Package tables puts tables of a point into a running server: from their raw files where that can be, else by dump and load.
//
// The point's server runs on a scratch copy, which is expendable: the tables are moved there to names that need no encoding, lose
// what no import can carry (foreign keys, full-text indexes), and are flushed for export. The live server makes the same tables in a
// staging, gives up their files, and takes over copies of the point's. They get back what they lost, are checked, and only then
// swapped with the live ones (package swap). Until that moment no live table is touched.
//
// It first looks (Look: read-only), then decides (Decide: pure, with reasons), then acts (Do).
package tables

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
	"github.com/holdstill/holdstill/internal/undo"
)

// Request is what a person asks for.
type Request struct {
	// Tables are those of the point to restore; or Database, all of it with its views, routines and events.
	Tables   []schema.Name
	Database string
	// As is another name: of the one table, or of the database. Nothing may have it yet.
	As schema.Name
	// LocalOnly keeps the restore out of the live server's binary log.
	LocalOnly bool
	// Way forces one; default Auto.
	Way Way
}

// Way is how a table gets into the live server.
type Way string

// The ways. Auto is a wish: the rules turn it into one of the others.
const (
	Auto  Way = ""
	Files Way = "files" // its files are taken over
	Load  Way = "load"  // a dump is loaded
	Made  Way = "made"  // it has no rows to carry: a sequence, or an engine that keeps none
)

// Source is the scratch server of the point.
type Source struct {
	DB      *sql.DB
	Datadir string // as this process sees it
	Point   string // its id
}

// Loader loads a dump of tables of the point into the staging: for those whose files cannot be taken over. It tells what is not as it was.
type Loader func(ctx context.Context, staging string, tables []Loaded) (told []string, err error)

// Loaded is one table to load; it comes without foreign keys and triggers.
type Loaded struct {
	From   schema.Name // on the scratch server
	Staged string      // its name in the staging
	// Unnamed are check constraints whose names are taken.
	Unnamed []string
	// Sequences are those that have another name in the live server.
	Sequences map[schema.Name]schema.Name
}

// Deps is what a restore of tables needs from others.
type Deps struct {
	Load     Loader // nil: there is none, and what needs it is refused
	Log      *slog.Logger
	Progress func(text string, done, total int64)
}

// Restored is one table that was restored.
type Restored struct {
	From   schema.Name `json:"from"`
	To     schema.Name `json:"to"`
	Way    Way         `json:"how"`
	Reason string      `json:"reason,omitempty"` // why not from its files
	Bytes  int64       `json:"bytes"`
	MS     float64     `json:"ms"`
}

// Result is what there is now.
type Result struct {
	Point    string       `json:"point"`
	Instance string       `json:"instance"`
	Tables   []Restored   `json:"tables"`
	Code     []string     `json:"code,omitempty"` // views, routines and events that were made
	Swap     *swap.Result `json:"swap"`
	MS       float64      `json:"ms"`
	SwapMS   float64      `json:"swap_ms"`
	Warnings []string     `json:"warnings"`
}

// Restore looks, decides and does.
func Restore(ctx context.Context, run *undo.Run, r Request, source Source, live swap.Live, deps Deps) (*Result, error) {
	world, err := Look(ctx, r, source, live)
	if err != nil {
		return nil, err
	}
	plan, err := Decide(r, world, deps.Load != nil)
	if err != nil {
		return nil, err
	}
	return Do(ctx, run, plan, source, live, deps)
}

// Do carries out the plan. After an error the caller unwinds the run: then the live tables are the old ones, or, if the swap had
// happened, the new ones.
func Do(ctx context.Context, run *undo.Run, plan *Plan, source Source, live swap.Live, deps Deps) (*Result, error) {
	begun := time.Now()
	staging, err := swap.Stage(ctx, run, live)
	if err != nil {
		return nil, err
	}
	defer staging.Close()
	j := &job{plan: plan, source: source, live: live, deps: deps, run: run.ID, staging: staging,
		result: &Result{Point: source.Point, Instance: live.Instance, Tables: []Restored{}, Warnings: append([]string{}, plan.Warnings...)}}
	if d := plan.Database; d != nil {
		if err := staging.MakeDatabase(ctx, d); err != nil {
			return nil, err
		}
	}
	if err := j.bring(ctx); err != nil {
		return nil, err
	}
	swapping := time.Now()
	if j.result.Swap, err = staging.Swap(ctx, j.moves(), j.code()...); err != nil {
		return nil, err
	}
	j.result.SwapMS = milliseconds(swapping)
	for _, c := range plan.Code {
		j.result.Code = append(j.result.Code, c.Title)
	}
	j.result.MS = milliseconds(begun)
	return j.result, nil
}

func milliseconds(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

// job is one restore under way.
type job struct {
	plan    *Plan
	source  Source
	live    swap.Live
	deps    Deps
	run     string
	staging *swap.Staging
	result  *Result
}

// bring makes every table in the staging, complete and checked.
func (j *job) bring(ctx context.Context) error {
	source, err := openScratch(ctx, j.source, j.run)
	if err != nil {
		return err
	}
	defer source.close()
	for i := range j.plan.Items { // sequences first: the defaults of others may need them
		if it := &j.plan.Items[i]; it.Table.Kind == schema.Sequence {
			if err := j.timed(ctx, source, it); err != nil {
				return err
			}
		}
	}
	// before the files of others are taken: that moves tables of the scratch server
	if err := j.load(ctx); err != nil {
		return err
	}
	for i := range j.plan.Items {
		if it := &j.plan.Items[i]; it.Table.Kind != schema.Sequence {
			if err := j.timed(ctx, source, it); err != nil {
				return err
			}
		}
	}
	return nil
}

// load dumps and loads, several at once, what does not come by its files.
func (j *job) load(ctx context.Context) error {
	var all []Loaded
	for _, it := range j.plan.Items {
		if it.Way == Load {
			all = append(all, Loaded{From: it.Table.FullName(), Staged: it.Staged, Unnamed: it.Unnamed, Sequences: j.plan.sequences()})
			j.deps.Log.Info(fmt.Sprintf("Restoring table %s (%s)...", it.Table.FullName(), it.says()), "stage", "tables")
		}
	}
	if len(all) == 0 {
		return nil
	}
	told, err := j.deps.Load(ctx, j.staging.Schema, all)
	if err != nil {
		return fmt.Errorf("cannot dump and load: %w", err)
	}
	j.result.Warnings = append(j.result.Warnings, told...)
	return fault.At("tables.loaded")
}

// timed brings one table and notes it.
func (j *job) timed(ctx context.Context, source *scratch, it *Item) error {
	begun := time.Now()
	if it.Way != Load {
		j.deps.Log.Info(fmt.Sprintf("Restoring table %s (%s)...", it.Table.FullName(), it.says()), "stage", "tables")
	}
	bytes, err := j.one(ctx, source, it)
	if err != nil {
		return fmt.Errorf("cannot restore %s: %w", it.Table.FullName(), err)
	}
	j.result.Tables = append(j.result.Tables, Restored{From: it.Table.FullName(), To: it.Target, Way: it.Way, Reason: it.Reason, Bytes: bytes, MS: milliseconds(begun)})
	return nil
}

// moves are the staged tables and their places.
func (j *job) moves() []swap.Move {
	var out []swap.Move
	for _, it := range j.plan.Items {
		if it.InPlace {
			continue
		}
		out = append(out, swap.Move{Staged: it.Staged, Target: it.Target, Triggers: it.Newcomer.Triggers, Keys: it.Newcomer.Keys})
	}
	return out
}
