package pitr

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/binlog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/schema"
)

// narrow leaves out of the way what cannot matter to the tables that count.
func (r *replay) narrow(ctx context.Context) error {
	if len(r.only) == 0 {
		return nil
	}
	keys, err := schema.ForeignKeys(ctx, r.db)
	if err != nil {
		return err
	}
	n := &narrower{way: r.way, only: r.only, out: *r.way, last: -1}
	n.out.Pieces, n.out.Applied, n.out.Bytes = nil, 0, 0
	if n.out.Executed, err = binlog.ParseGTIDs(r.job.Plan.Server.Product == database.MariaDB, r.way.From.GTID); err != nil {
		return err
	}
	if n.why = unfit(r.only, keys); n.why == "" {
		err = n.survey(ctx)
	}
	switch {
	case err != nil:
		return err
	case n.why != "":
		r.deps.Stage("replay", "replaying everything, and not only what changes %s: %s", named(r.only), n.why)
		r.only = nil
		return nil
	}
	r.deps.Stage("replay", "leaving out what does not change %s: %d of %d transactions are left", named(r.only), n.out.Applied, r.way.Applied)
	r.way, r.only = &n.out, n.spelled
	return nil
}

// narrower makes a way of those transactions only that change one of the tables, or finds the reason why it is not proven that this is enough: all
// changes must be rows, which say which table they are of; no definition may change, which could bring other tables' rows into one of these;
// a distributed transaction's work and its decision must not be parted; and the servers must not look at other tables when they apply a row.
// It holds one transaction at a time: a way may have millions.
type narrower struct {
	way  *Way
	only []schema.Name

	out     Way
	last    int           // the piece of way that the last of out is of; -1: none
	spelled []schema.Name // the names as the log spells them, which is how the applier's filter wants them
	why     string        // the first reason to replay everything
}

// unfit is why tables cannot be replayed alone, whatever is in the logs.
func unfit(only []schema.Name, keys []schema.ForeignKey) string {
	for _, name := range only {
		if strings.ContainsAny(name.Database+name.Table, ".,`'\"\\ ") {
			return fmt.Sprintf("the name %s cannot stand in a replication filter", name)
		}
	}
	for _, k := range keys {
		if in(only, k.From) != in(only, k.To) {
			return fmt.Sprintf("the foreign key %s leads from %s to %s", k.Name, k.From, k.To)
		}
	}
	return ""
}

// survey reads what the transactions of the way do, until there is a reason to replay everything.
func (n *narrower) survey(ctx context.Context) error {
	for i, p := range n.way.Pieces {
		f, err := p.Log.Open(ctx)
		if err != nil {
			return err
		}
		err = binlog.Touched(io.NewSectionReader(f, 0, p.Log.Size), func(d binlog.Detail) error {
			if slices.ContainsFunc(p.Ranges, func(r Range) bool { return r.From <= d.Start && d.End <= r.To }) {
				if err := n.transaction(i, &d); err != nil || n.why != "" {
					return cmp.Or(err, binlog.ErrStop)
				}
			}
			return ctx.Err()
		})
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("cannot read what is in %s: %w", p.Log.Name, err)
		}
		if n.why != "" {
			return nil
		}
	}
	return nil
}

func (n *narrower) transaction(piece int, d *binlog.Detail) error {
	if why := unclear(d); why != "" {
		n.why = fmt.Sprintf("%s %s", Place{n.way.Pieces[piece].Log.Name, d.Transaction}, why)
		return nil
	}
	kept := false
	for _, deed := range d.Deeds {
		database, table, _ := strings.Cut(deed.Table, ".")
		if name := (schema.Name{Database: database, Table: table}); in(n.only, name) {
			kept = true
			if !slices.Contains(n.spelled, name) {
				n.spelled = append(n.spelled, name)
			}
		}
	}
	if !kept {
		return nil
	}
	n.keep(piece, Range{d.Start, d.End})
	return n.out.Executed.Add(d.GTID)
}

// keep appends a transaction to the narrow way.
func (n *narrower) keep(piece int, r Range) {
	if piece != n.last {
		p := n.way.Pieces[piece]
		p.Ranges = nil
		n.out.Pieces, n.last = append(n.out.Pieces, p), piece
	}
	p := &n.out.Pieces[len(n.out.Pieces)-1]
	if i := len(p.Ranges) - 1; i >= 0 && p.Ranges[i].To == r.From {
		p.Ranges[i].To = r.To
	} else {
		p.Ranges = append(p.Ranges, r)
	}
	n.out.Applied++
	n.out.Bytes += r.To - r.From
}

// unclear says why it is not known which tables a transaction matters to; "": it is.
func unclear(d *binlog.Detail) string {
	switch {
	case d.XA:
		return "is a part of a distributed transaction"
	case d.Stated || slices.ContainsFunc(d.Statements, func(s binlog.Stated) bool { return s.Kind == binlog.Statement }):
		return "changes rows by a statement"
	case len(d.Statements) > 0:
		return "changes a definition"
	case len(d.Deeds) == 0:
		return "does not tell what it does"
	}
	return ""
}

func in(names []schema.Name, n schema.Name) bool {
	return slices.ContainsFunc(names, func(o schema.Name) bool {
		return strings.EqualFold(o.Database, n.Database) && strings.EqualFold(o.Table, n.Table)
	})
}

func named(names []schema.Name) string {
	var out []string
	for _, n := range names {
		out = append(out, n.String())
	}
	return strings.Join(out, ", ")
}

// only is the statement that makes the applier leave out what else the kept transactions change.
func (d *dialect) only(names []schema.Name) []string {
	if len(names) == 0 {
		return nil
	}
	var tables []string
	for _, n := range names {
		if d.quoted {
			tables = append(tables, n.SQL())
		} else {
			tables = append(tables, n.Database+"."+n.Table)
		}
	}
	return []string{fmt.Sprintf(d.doTable, strings.Join(tables, ","))}
}
