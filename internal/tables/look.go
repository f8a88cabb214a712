package tables

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// World is what a plan depends on. Looking changes nothing.
type World struct {
	Live      *swap.Site
	Point     *schema.Server
	PointVars map[string]string
	Details   map[schema.Name]*Detail // of the point's tables that are asked for
	Code      []swap.Code             // of the point's database, where all of it is asked for
	NoKeys    bool                    // the live server can encrypt nothing: looked at only if the point's tables want it
}

// Detail is one table of the point.
type Detail struct {
	Table    schema.Table
	Create   string
	Keys     []swap.Key
	Triggers []swap.Trigger
	Fulltext []string // definitions of its full-text indexes
	OnDisk   uint64   // bytes of its files; 0: not known

	leaves   []leaf
	sequence string // the statement that makes it
	next     string // the number that it gives next
}

// Look reads both servers.
func Look(ctx context.Context, r Request, source Source, live swap.Live) (*World, error) {
	w := &World{Details: map[schema.Name]*Detail{}}
	var err error
	if w.Point, err = schema.Read(ctx, source.DB); err == nil {
		w.PointVars, err = schema.Variables(ctx, source.DB)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look at the point's tables: %w", err)
	}
	if w.Live, err = swap.Survey(ctx, live); err != nil {
		return nil, fmt.Errorf("cannot look at the tables of %s: %w", live.Instance, err)
	}
	chosen, err := w.Point.Choose(r.names())
	if err != nil {
		return nil, err
	}
	for _, t := range chosen {
		d, err := detail(ctx, source.DB, t)
		if err != nil {
			return nil, fmt.Errorf("cannot look at %s of the point: %w", t.FullName(), err)
		}
		d.OnDisk = onDisk(source.Datadir, t.FullName())
		w.Details[t.FullName()] = d
		if t.Encrypted && !w.NoKeys {
			w.NoKeys = keyless(ctx, live.DB)
		}
	}
	if r.Database != "" && w.Point.Database(r.Database) != nil {
		if w.Code, err = codeOf(ctx, source.DB, w.Point.Database(r.Database), r.target); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// names are what the point must have.
func (r Request) names() []schema.Name {
	if r.Database != "" {
		return []schema.Name{{Database: r.Database}}
	}
	return r.Tables
}

// target is where a table of the point goes.
func (r Request) target(from schema.Name) schema.Name {
	switch {
	case r.As.Database == "":
		return from
	case r.As.Table == "":
		return schema.Name{Database: r.As.Database, Table: from.Table}
	}
	return r.As
}

func detail(ctx context.Context, q schema.Querier, t schema.Table) (*Detail, error) {
	d := &Detail{Table: t}
	if t.Kind == schema.View {
		return d, nil
	}
	var err error
	if d.Create, err = showCreate(ctx, q, t.FullName()); err != nil {
		return nil, err
	}
	if d.Keys, err = swap.Keys(ctx, q, t.FullName()); err != nil {
		return nil, err
	}
	if d.Triggers, err = swap.Triggers(ctx, q, t.FullName()); err != nil {
		return nil, err
	}
	d.Fulltext = fulltext(d.Create)
	if len(t.Partitions) > 0 {
		if d.leaves, err = leaves(ctx, q, t.FullName()); err != nil {
			return nil, err
		}
	}
	if t.Kind == schema.Sequence {
		err = sequence(ctx, q, d)
	}
	return d, err
}

// showCreate is the statement that makes a table.
func showCreate(ctx context.Context, q schema.Querier, n schema.Name) (string, error) {
	rows, err := schema.Ask(ctx, q, "SHOW CREATE TABLE "+n.SQL())
	if err != nil {
		return "", err
	}
	return rows[0]["create table"], nil
}

// fulltext finds the definitions of full-text indexes. The server writes each on a line of its own.
func fulltext(create string) (out []string) {
	for line := range strings.Lines(create) {
		line = strings.TrimSuffix(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "FULLTEXT KEY ") {
			out = append(out, line)
		}
	}
	return out
}

// indexName is the name in an index's definition, as the server quotes it.
func indexName(definition string) string {
	_, rest, _ := strings.Cut(definition, "`")
	for i := 0; i < len(rest); i++ {
		if rest[i] != '`' {
			continue
		}
		if i+1 < len(rest) && rest[i+1] == '`' {
			i++
			continue
		}
		return "`" + rest[:i+1]
	}
	return ""
}
