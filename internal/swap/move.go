package swap

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/undo"
)

// step is one table's way, as the ledger holds it.
type step struct {
	Staged   schema.Name `json:"staged"` // where the new table is made
	Near     schema.Name `json:"near"`   // where it waits for the swap, which is Staged or beside its target
	Target   schema.Name `json:"target"`
	Replaces bool        `json:"replaces"`
	Off      schema.Name `json:"off"`   // where the old table goes in the swap
	Aside    schema.Name `json:"aside"` // and where it comes to rest

	Triggers    []Trigger `json:"triggers,omitempty"`
	Waiting     []string  `json:"waiting,omitempty"`      // the names that the triggers have until then
	OldTriggers []Trigger `json:"old_triggers,omitempty"` // of the old table
	OldKeys     []Key     `json:"old_keys,omitempty"`
	Keys        []Key     `json:"keys,omitempty"` // to be added after the swap
}

// Swap puts the staged tables in their places. After an error before the RENAME the live tables are as they were; after one behind it
// they are the new ones, and taking the run back finishes what was left, the code too. On success the staging is gone; the aside stays, and is
// not ours any more.
func (s *Staging) Swap(ctx context.Context, moves []Move, code ...Code) (*Result, error) {
	moves, err := asKept(ctx, s.session, moves)
	if err != nil {
		return nil, err
	}
	olds, err := look(ctx, s.session, moves)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the tables to replace: %w", err)
	}
	if code, err = refuse(ctx, s, moves, olds, code); err != nil {
		return nil, err
	}
	steps, early := plan(s.run.ID, moves, olds)
	if err := s.bind(ctx, early); err != nil {
		return nil, err
	}
	if err := s.checkpoint(ctx); err != nil {
		return nil, err
	}
	if s.live.Hold != nil {
		if err := s.live.Hold(ctx); err != nil {
			return nil, fmt.Errorf("the swap waits for the server: %w", err)
		}
	}
	if err := s.makeAside(ctx, steps); err != nil {
		return nil, err
	}
	for _, st := range steps {
		if err := s.approach(ctx, st); err != nil {
			return nil, err
		}
	}
	if err := s.rename(ctx, steps, code); err != nil {
		return nil, err
	}
	r := result(s.run.ID, steps)
	for _, old := range replaced(code) {
		r.Code, r.CodeFile = append(r.Code, old.Title), s.replacedFile()
	}
	return r, nil
}

func (s *Staging) replacedFile() string {
	if s.live.Replaced == "" {
		return ""
	}
	return filepath.Join(s.live.Replaced, s.run.ID+".sql")
}

// earlyKey is a foreign key that can be there before the swap, between tables of the staging.
type earlyKey struct {
	on  schema.Name
	key Key
}

// plan decides each table's way, and which foreign keys can be there before the swap.
func plan(run string, moves []Move, olds []old) (steps []step, early []earlyKey) {
	staging, aside := StagingName(run), AsideName(run)
	bound := false // an old and a new table are in one schema for a while, and with them the names of their foreign keys
	for i, o := range olds {
		bound = bound || len(o.Triggers) > 0 || len(moves[i].Triggers) > 0
	}
	taken := map[string]int{}
	for i, m := range moves {
		st := step{Staged: schema.Name{Database: staging, Table: m.Staged}, Target: m.Target, Replaces: olds[i].There,
			Triggers: m.Triggers, OldTriggers: olds[i].Triggers, OldKeys: outward(olds[i].Keys, moves)}
		st.Near = st.Staged
		if len(m.Triggers) > 0 {
			st.Near = schema.Name{Database: m.Target.Database, Table: fmt.Sprintf("holdstill_%s_%d", run, i)}
			for n := range m.Triggers {
				st.Waiting = append(st.Waiting, fmt.Sprintf("holdstill_%s_%d_%d", run, i, n))
			}
		}
		st.Aside = schema.Name{Database: aside, Table: unique(m.Target.Table, taken)}
		st.Off = st.Aside
		if len(olds[i].Triggers) > 0 {
			st.Off = schema.Name{Database: m.Target.Database, Table: fmt.Sprintf("holdstill_%s_%d_old", run, i)}
		}
		for _, k := range m.Keys {
			if parent, inside := byTarget(moves, k.To); inside && !bound {
				k.To = schema.Name{Database: staging, Table: parent.Staged}
				early = append(early, earlyKey{st.Staged, k})
			} else {
				st.Keys = append(st.Keys, k)
			}
		}
		steps = append(steps, st)
	}
	return steps, early
}

// unique keeps tables of one name from several databases apart.
func unique(table string, taken map[string]int) string {
	key := strings.ToLower(table)
	taken[key]++
	if n := taken[key]; n > 1 {
		return fmt.Sprintf("%.60s_%d", table, n)
	}
	return table
}

// outward are the keys that lead to tables which are not swapped.
func outward(keys []Key, moves []Move) (out []Key) {
	for _, k := range keys {
		if _, inside := byTarget(moves, k.To); !inside {
			out = append(out, k)
		}
	}
	return out
}

// bind adds the early keys. A table that was lent to an earlier run may have got them there.
func (s *Staging) bind(ctx context.Context, early []earlyKey) error {
	for _, e := range early {
		has, err := Keys(ctx, s.session.conn, e.on)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(has, e.key.like) {
			continue
		}
		if err := s.session.exec(ctx, e.key.add(e.on, e.key.To)); err != nil {
			return err
		}
	}
	return nil
}

// makeAside makes the schema of the old tables, if there are any.
func (s *Staging) makeAside(ctx context.Context, steps []step) error {
	if !slices.ContainsFunc(steps, func(st step) bool { return st.Replaces }) {
		return nil
	}
	return s.makeSchema(ctx, AsideName(s.run.ID), "")
}

// makeSchema makes a database, which is dropped if the run fails, unless somebody has put something into it.
func (s *Staging) makeSchema(ctx context.Context, name, options string) error {
	there, err := s.session.databaseThere(ctx, name)
	if err = unlessThere("the database "+name, there, err); err != nil {
		return err
	}
	args := schemaArgs{Endpoint: s.live.Endpoint, Run: s.run.ID, Schema: name, LocalOnly: s.live.LocalOnly}
	deed := s.deed(kindSchema, "schema", "make the database "+name, "DROP DATABASE "+schema.Quote(name)+"; (in the server, if it is empty)", args)
	s.databases = append(s.databases, name)
	return s.make(ctx, deed, "CREATE DATABASE "+schema.Quote(name)+options)
}

// MakeDatabase makes a database that tables will be moved to, with the server's own defaults for what is "". It is dropped if the run fails
// before the swap.
func (s *Staging) MakeDatabase(ctx context.Context, d *schema.Database) error {
	options := ""
	if d.Charset != "" {
		options += " CHARACTER SET " + d.Charset
	}
	if d.Collation != "" {
		options += " COLLATE " + d.Collation
	}
	if d.Encrypted {
		options += " /*!80016 DEFAULT ENCRYPTION 'Y' */" // MariaDB passes over it
	}
	return s.makeSchema(ctx, d.Name, options)
}

// MakeSequence makes a sequence in its place, where nothing is: the tables of the staging may need it for their defaults. It is dropped if the
// run fails before the swap.
func (s *Staging) MakeSequence(ctx context.Context, n schema.Name, statements ...string) error {
	there, err := s.session.there(ctx, n)
	if err = unlessThere(n.String(), there, err); err != nil {
		return err
	}
	args := sequenceArgs{Endpoint: s.live.Endpoint, Run: s.run.ID, Sequence: n, LocalOnly: s.live.LocalOnly}
	deed := s.deed(kindSequence, "near", "make the sequence "+n.String(), "DROP SEQUENCE "+n.SQL()+"; (in the server)", args)
	s.sequences = append(s.sequences, n)
	return s.make(ctx, deed, statements...)
}

// unlessThere refuses to make what is there by now: it is somebody's, and the undo that would be promised next would drop it.
func unlessThere(what string, there bool, err error) error {
	if err != nil {
		return fmt.Errorf("cannot look whether %s is there: %w", what, err)
	}
	if there {
		return &Refusal{[]string{what + " is there now, and was not when this began; somebody else has made it"}, "give the same command again, which judges it anew; or drop it before"}
	}
	return nil
}

// approach brings a table with triggers beside its target, and gives it the triggers under other names.
func (s *Staging) approach(ctx context.Context, st step) error {
	if st.Near == st.Staged {
		return nil
	}
	args := nearArgs{Endpoint: s.live.Endpoint, Run: s.run.ID, Table: st.Near, Staged: st.Staged, LocalOnly: s.live.LocalOnly}
	deed := s.deed(kindNear, "near", "bring the new table of "+st.Target.String()+" beside it", "DROP TABLE "+st.Near.SQL()+"; (in the server)", args)
	statements := []string{"RENAME TABLE " + st.Staged.SQL() + " TO " + st.Near.SQL()}
	for i, t := range st.Triggers {
		statements = append(statements, t.create(st.Near, st.Waiting[i])...)
	}
	if err := s.make(ctx, deed, statements...); err != nil {
		return fmt.Errorf("cannot give the new table of %s its triggers: %w", st.Target, err)
	}
	return nil
}

// rename is the moment: before it all tables are the old ones, after it the new ones. Its undo is what comes after it; from its promise on
// that answers for everything else that the run has made.
func (s *Staging) rename(ctx context.Context, steps []step, code []Code) error {
	args := swapArgs{Endpoint: s.live.Endpoint, Run: s.run.ID, Steps: steps, Code: code, Replaced: s.replacedFile(), LocalOnly: s.live.LocalOnly,
		Staging: s.args, Databases: s.databases, Sequences: s.sequences}
	if err := s.session.exec(ctx, "CREATE TABLE "+args.waits().SQL()+" (id INT PRIMARY KEY) ENGINE=InnoDB"); err != nil {
		return err
	}
	_, receipt, err := undo.Do(ctx, s.run, undo.Step[struct{}]{
		Deed: s.deed(kindSwap, "swap", "put "+targets(steps)+" in place", "holdstill recover", args),
		Over: s.made,
		Act: func(ctx context.Context) (struct{}, error) {
			return struct{}{}, s.session.exec(ctx, args.rename())
		},
		Undo: func(ctx context.Context) error {
			return s.again(ctx, func(again *session) error { return finish(ctx, again, args) })
		},
	})
	if err != nil {
		return fmt.Errorf("cannot put %s in place: %w", targets(steps), err)
	}
	if err := s.run.Undo(ctx, receipt); err != nil {
		return fmt.Errorf("the new tables are in place, and what comes after the swap (triggers, keys, code) did not end in one go: %w", err)
	}
	return nil
}

// rename is the one statement. The marker goes first: servers before MySQL 8.0 and MariaDB 10.6 rename one table after the other, and if they
// crash half way, all that they have done is behind it.
func (a swapArgs) rename() string {
	pairs := []string{a.waits().SQL() + " TO " + a.swapped().SQL()}
	for _, st := range a.Steps {
		if st.Replaces {
			pairs = append(pairs, st.Target.SQL()+" TO "+st.Off.SQL())
		}
		pairs = append(pairs, st.Near.SQL()+" TO "+st.Target.SQL())
	}
	return "RENAME TABLE " + strings.Join(pairs, ", ")
}

func targets(steps []step) string {
	const few = 3
	var names []string
	for i, st := range steps {
		if i == few {
			return strings.Join(names, ", ") + fmt.Sprintf(" and %d more", len(steps)-few)
		}
		names = append(names, st.Target.String())
	}
	return strings.Join(names, ", ")
}

// result says what there is now and how to go on.
func result(run string, steps []step) *Result {
	r := &Result{Aside: []Aside{}}
	away := schema.Quote(AsideName(run) + "_undone")
	var pairs, drops, makes []string
	for _, st := range steps {
		if !st.Replaces {
			continue
		}
		r.Aside = append(r.Aside, Aside{Was: st.Target, Is: st.Aside})
		pairs = append(pairs, st.Target.SQL()+" TO "+away+"."+schema.Quote(st.Aside.Table), st.Aside.SQL()+" TO "+st.Target.SQL())
		for _, t := range st.Triggers {
			drops = append(drops, "DROP TRIGGER "+schema.Name{Database: st.Target.Database, Table: t.Name}.SQL())
		}
		for _, t := range st.OldTriggers {
			makes = append(makes, t.create(st.Target, t.Name)...)
		}
		for _, k := range st.OldKeys {
			r.Lost = append(r.Lost, k.add(st.Target, k.To))
		}
	}
	if len(pairs) > 0 {
		r.Confirm = "DROP DATABASE " + schema.Quote(AsideName(run))
		r.Back = append(append(drops, "CREATE DATABASE "+away, "RENAME TABLE "+strings.Join(pairs, ", ")), makes...)
		r.Back = append(r.Back, r.Lost...)
	}
	return r
}
