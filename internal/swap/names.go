package swap

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/schema"
)

// Constraint is a foreign key or a check of a live table. No two of a schema can have one name (but MariaDB's checks, which are their table's).
type Constraint struct {
	Of   schema.Name
	Name string
}

func constraints(ctx context.Context, q schema.Querier) ([]Constraint, error) {
	rows, err := schema.Ask(ctx, q, "SELECT CONSTRAINT_SCHEMA AS db, TABLE_NAME AS tab, CONSTRAINT_NAME AS name FROM information_schema.TABLE_CONSTRAINTS "+
		"WHERE CONSTRAINT_TYPE IN ('FOREIGN KEY', 'CHECK')")
	var out []Constraint
	for _, r := range rows {
		out = append(out, Constraint{schema.Name{Database: r["db"], Table: r["tab"]}, r["name"]})
	}
	return out, err
}

// Newcomer is a table on its way into a live server, with the names that it brings into its schema.
type Newcomer struct {
	Target   schema.Name
	Keys     []Key
	Triggers []Trigger
	Checks   []string // the names of its check constraints
	Unnamed  []string // those of them that it cannot have
}

func targetsOf(all []*Newcomer) (out []schema.Name) {
	for _, n := range all {
		out = append(out, n.Target)
	}
	return out
}

// Yield lets go of names that other live tables of the schema have: a foreign key and a check get one from the server, a trigger is left out.
func (s *Site) Yield(n *Newcomer, all []*Newcomer) (warnings []string) {
	targets := targetsOf(all)
	replaced := func(of schema.Name) bool {
		return slices.ContainsFunc(targets, func(t schema.Name) bool { return s.Same(t, of) })
	}
	inSchema := func(of schema.Name) bool { // whatever the case, where the server folds it
		return s.Same(schema.Name{Database: of.Database}, schema.Name{Database: n.Target.Database})
	}
	// beside is a table with which the new one is in one schema, at least for a while
	beside := func(of schema.Name) bool {
		return inSchema(of) && (!replaced(of) || len(n.Triggers) > 0 || s.triggered(of))
	}
	taken := func(name string, by func(schema.Name) bool) bool {
		return slices.ContainsFunc(s.Constraints, func(c Constraint) bool { return strings.EqualFold(c.Name, name) && by(c.Of) })
	}
	n.Keys = slices.Clone(n.Keys)
	for i, k := range n.Keys {
		if taken(k.Name, func(of schema.Name) bool { return inSchema(of) && !replaced(of) }) {
			n.Keys[i].Name = ""
		}
	}
	for _, name := range n.Checks {
		if s.Product != database.MariaDB && taken(name, beside) {
			n.Unnamed = append(n.Unnamed, name)
			warnings = append(warnings, fmt.Sprintf("the check %s of %s gets another name: another table has it", name, n.Target))
		}
	}
	n.Triggers = slices.DeleteFunc(slices.Clone(n.Triggers), func(t Trigger) bool {
		of := s.triggerOn(n.Target.Database, t.Name)
		if of == "" || replaced(schema.Name{Database: n.Target.Database, Table: of}) {
			return false
		}
		warnings = append(warnings, fmt.Sprintf("the trigger %s of %s is left out: %s has one of that name", t.Name, n.Target, of))
		return true
	})
	return warnings
}

// triggerOn is the live table that has a trigger of the name.
func (s *Site) triggerOn(database, name string) string {
	if d := s.Database(database); d != nil {
		for _, t := range d.Triggers {
			if strings.EqualFold(t.Name, name) {
				return t.Table
			}
		}
	}
	return ""
}

func (s *Site) triggered(n schema.Name) bool {
	d := s.Database(n.Database)
	return d != nil && slices.ContainsFunc(d.Triggers, func(t schema.Trigger) bool {
		return s.Same(schema.Name{Table: t.Table}, schema.Name{Table: n.Table})
	})
}

var checkLine = regexp.MustCompile("(?m)^  CONSTRAINT `((?:[^`]|``)+)` CHECK ")

// Checks are the names of the check constraints in the statement that makes a table. The server writes each on a line of its own.
func Checks(create string) (out []string) {
	for _, f := range checkLine.FindAllStringSubmatch(create, -1) {
		out = append(out, strings.ReplaceAll(f[1], "``", "`"))
	}
	return out
}

// Unname leaves names of checks out of the statement that makes a table.
func Unname(create string, names []string) string {
	for _, name := range names {
		create = strings.Replace(create, "\n  CONSTRAINT "+schema.Quote(name)+" CHECK ", "\n  CHECK ", 1)
	}
	return create
}

// Redirected makes the defaults of columns use sequences under their new names, in the statement that makes a table.
func Redirected(create string, sequences map[schema.Name]schema.Name) string {
	for from, to := range sequences {
		create = strings.ReplaceAll(create, "nextval("+from.SQL()+")", "nextval("+to.SQL()+")")
	}
	return create
}
