package dump

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
)

// plan is what will be written: decided before anything is.
type plan struct {
	tasks    []task // in the order in which they begin
	bytes    int64  // of all tables, estimated
	warnings []string
}

// task is one file.
type task struct {
	part     dumpfile.Part
	database string
	table    schema.Table // of Rows
	names    []string     // what of the database; nil: all
}

// decide chooses the files. A database that is asked for as a whole comes with its code, a table with its triggers; the accounts come with
// everything.
func decide(r Request, held *schema.Server) (*plan, error) {
	tables, err := held.Choose(r.Names)
	if err != nil {
		return nil, err
	}
	p := &plan{}
	for _, t := range tables {
		if t.Problem != "" {
			return nil, &Refusal{fmt.Sprintf("the server cannot open %s: %s", t.FullName(), t.Problem), "repair it, or name the tables to dump without it"}
		}
		if t.Kind != schema.View {
			p.tasks = append(p.tasks, task{part: dumpfile.Rows, database: t.Database, table: t})
			p.bytes += t.DataBytes
		}
		if t.Kind == schema.Base && !r.Live && (t.Engine == "MEMORY" || t.Engine == "FEDERATED" || t.Engine == "CONNECT") {
			p.warnings = append(p.warnings, fmt.Sprintf("the rows of %s are not in the files of the point: its engine is %s", t.FullName(), t.Engine))
		}
	}
	if r.Live {
		p.warnOfLoose()
		if held.Product == database.MySQL && versionOf(held.Version)[0] < 8 { // later ones, and MariaDB, fail with error 1412
			p.warnings = append(p.warnings, "a table that is truncated while this server is dumped is empty in the dump: MySQL before 8.0 does not tell of it")
		}
	}
	// the largest first: it is what the end would wait for
	slices.SortStableFunc(p.tasks, func(a, b task) int { return cmp.Compare(b.table.Bytes(), a.table.Bytes()) })
	for _, d := range held.Databases {
		p.code(d, r, tables)
	}
	if len(r.Names) == 0 {
		p.tasks = append(p.tasks, task{part: dumpfile.Users}, task{part: dumpfile.Grants})
	}
	return p, nil
}

// warnOfLoose tells the tables that no transaction gives a snapshot of.
func (p *plan) warnOfLoose() {
	var loose []string
	for _, t := range p.tasks {
		if t.table.HasRows() && !t.table.Transactional() {
			loose = append(loose, fmt.Sprintf("%s (%s)", t.table.FullName(), t.table.Engine))
		}
	}
	if len(loose) > 0 {
		p.warnings = append(p.warnings, "these tables have no transactions, so what is written to them while the dump is made may be in it or not: "+strings.Join(loose, ", "))
	}
}

// code adds what a database has beside its tables.
func (p *plan) code(d schema.Database, r Request, chosen []schema.Table) {
	all := len(r.Names) == 0 || slices.Contains(r.Names, schema.Name{Database: d.Name})
	var views, triggered []string
	for _, t := range chosen {
		if t.Database != d.Name {
			continue
		}
		if t.Kind == schema.View {
			views = append(views, t.Name)
		}
		if slices.ContainsFunc(d.Triggers, func(tr schema.Trigger) bool { return tr.Table == t.Name }) {
			triggered = append(triggered, t.Name)
		}
	}
	add := func(want bool, part dumpfile.Part, names []string) {
		if want {
			p.tasks = append(p.tasks, task{part: part, database: d.Name, names: names})
		}
	}
	add(all, dumpfile.Schema, nil)
	add(len(views) > 0, dumpfile.Views, views)
	add(all && len(d.Routines) > 0, dumpfile.Routines, nil)
	add(len(triggered) > 0, dumpfile.Triggers, triggered)
	add(all && len(d.Events) > 0, dumpfile.Events, nil)
}

func (p *plan) touches(database string) bool {
	return slices.ContainsFunc(p.tasks, func(t task) bool { return t.database == database })
}

// only is the one database that there are rows of, or "".
func (p *plan) only() (name string) {
	for _, t := range p.tasks {
		if t.part == dumpfile.Rows && name != "" && t.database != name {
			return ""
		}
		if t.part == dumpfile.Rows {
			name = t.database
		}
	}
	return name
}

func (t task) file(r Request) string {
	if t.part == dumpfile.Rows {
		return dumpfile.FileName(t.table.FullName(), r.Moment, r.Compression.Ext())
	}
	return dumpfile.PartName(t.part, t.database, r.Moment, r.Compression.Ext())
}
