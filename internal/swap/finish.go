package swap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/schema"
)

// waits and swapped are the names of the marker, which nobody gives a table. The RENAME turns the first into the second; where there is
// neither, all is done, and only the staging was still about to go.
func (a swapArgs) waits() schema.Name {
	return schema.Name{Database: a.Staging.Schema, Table: "holdstill/waits"}
}

func (a swapArgs) swapped() schema.Name {
	return schema.Name{Database: a.Staging.Schema, Table: "holdstill/swapped"}
}

// finish is everything after the RENAME, or, if it never happened, the way back. It looks at the world at every step, so that it can be done
// again. The staging goes last: in it is what tells the one from the other.
func finish(ctx context.Context, s *session, a swapArgs) error {
	waits, err := s.there(ctx, a.waits())
	if err == nil && waits {
		err = back(ctx, s, a)
	}
	if err != nil {
		return err
	}
	swapped, err := s.there(ctx, a.swapped())
	if err == nil && swapped {
		err = forward(ctx, s, a)
	}
	if err != nil {
		return err
	}
	return dropStaging(ctx, s, a.Staging)
}

// back takes away what was made for the swap.
func back(ctx context.Context, s *session, a swapArgs) error {
	var all []error
	for _, st := range a.Steps {
		if st.Near != st.Staged {
			all = append(all, withdraw(ctx, s, nearArgs{Run: a.Run, Table: st.Near, Staged: st.Staged}))
		}
	}
	for _, n := range a.Sequences {
		all = append(all, dropSequence(ctx, s, sequenceArgs{Sequence: n}))
	}
	for _, name := range a.Databases {
		all = append(all, dropEmpty(ctx, s, schemaArgs{Schema: name}))
	}
	return errors.Join(all...)
}

// forward does what is left to do for the new tables.
func forward(ctx context.Context, s *session, a swapArgs) error {
	if err := keepReplaced(a.Replaced, a.Code); err != nil { // before anything of it is dropped
		return fmt.Errorf("cannot keep the views, routines and events that are replaced: %w", err)
	}
	all := []error{complete(ctx, s, a.Steps)}
	for _, st := range a.Steps {
		all = append(all, st.unbind(ctx, s))
	}
	all = append(all, fault.At("finish.unbound"))
	for _, st := range a.Steps {
		all = append(all, st.own(ctx, s), st.rest(ctx, s))
	}
	all = append(all, fault.At("finish.rested"))
	for _, st := range a.Steps {
		all = append(all, st.bind(ctx, s))
	}
	all = append(all, fault.At("finish.bound"))
	return errors.Join(append(all, makeCode(ctx, s, a.Code))...)
}

// complete ends a RENAME in whose middle a server crashed that does one table after the other.
func complete(ctx context.Context, s *session, steps []step) error {
	var left []string
	for _, st := range steps {
		near, err := s.there(ctx, st.Near)
		if err != nil {
			return err
		}
		if !near {
			continue
		}
		old, err := s.there(ctx, st.Target)
		if err != nil {
			return err
		}
		if old && st.Replaces {
			left = append(left, st.Target.SQL()+" TO "+st.Off.SQL())
		}
		left = append(left, st.Near.SQL()+" TO "+st.Target.SQL())
	}
	if len(left) == 0 {
		return nil
	}
	return s.exec(ctx, "RENAME TABLE "+strings.Join(left, ", "))
}

// offPlace is where the old table is now; the zero name if there is none.
func (st step) offPlace(ctx context.Context, s *session) (schema.Name, error) {
	if !st.Replaces {
		return schema.Name{}, nil
	}
	for _, n := range []schema.Name{st.Off, st.Aside} {
		if there, err := s.there(ctx, n); err != nil || there {
			return n, err
		}
	}
	return schema.Name{}, nil
}

// unbind takes the old table's foreign keys to tables that stay: its rows must not hold up, or be changed by, what is done to those.
func (st step) unbind(ctx context.Context, s *session) error {
	if len(st.OldKeys) == 0 {
		return nil
	}
	off, err := st.offPlace(ctx, s)
	if err != nil || off.Table == "" {
		return err
	}
	has, err := Keys(ctx, s.conn, off)
	if err != nil {
		return err
	}
	for _, k := range has {
		if !slices.ContainsFunc(st.OldKeys, k.like) {
			continue
		}
		if err := s.exec(ctx, k.drop(off)); err != nil {
			return err
		}
	}
	return nil
}

// own gives the triggers their names. Both tables are locked meanwhile: nobody writes to a table whose triggers are in the making.
func (st step) own(ctx context.Context, s *session) error {
	off, err := st.offPlace(ctx, s)
	if err != nil {
		return err
	}
	near, err := Triggers(ctx, s.conn, st.Target)
	if err != nil {
		return err
	}
	has := map[string]bool{}
	for _, t := range near {
		has[t.Name] = true
	}
	var statements []string
	if off.Table != "" {
		old, err := Triggers(ctx, s.conn, off)
		if err != nil {
			return err
		}
		for _, t := range old {
			statements = append(statements, dropTrigger(off, t.Name))
		}
	}
	for i, t := range st.Triggers {
		if has[st.Waiting[i]] {
			statements = append(statements, dropTrigger(st.Target, st.Waiting[i]))
		}
		if !has[t.Name] {
			statements = append(statements, t.create(st.Target, t.Name)...)
		}
	}
	if len(statements) == 0 {
		return nil
	}
	return st.locked(ctx, s, off, statements)
}

func (st step) locked(ctx context.Context, s *session, off schema.Name, statements []string) error {
	lock := "LOCK TABLES " + st.Target.SQL() + " WRITE"
	if off.Table != "" {
		lock += ", " + off.SQL() + " WRITE"
	}
	if err := s.exec(ctx, lock); err != nil {
		return err
	}
	var err error
	for _, statement := range statements {
		if err = fault.At("finish.trigger"); err == nil {
			err = s.exec(ctx, statement)
		}
		if err != nil {
			err = fmt.Errorf("cannot give %s its triggers: %w", st.Target, err)
			break
		}
	}
	return errors.Join(err, s.exec(context.WithoutCancel(ctx), "UNLOCK TABLES"))
}

func dropTrigger(on schema.Name, name string) string {
	return "DROP TRIGGER " + schema.Name{Database: on.Database, Table: name}.SQL()
}

// rest brings an old table that had to stay in its schema to the aside.
func (st step) rest(ctx context.Context, s *session) error {
	if !st.Replaces || st.Off == st.Aside {
		return nil
	}
	there, err := s.there(ctx, st.Off)
	if err != nil || !there {
		return err
	}
	return s.exec(ctx, "RENAME TABLE "+st.Off.SQL()+" TO "+st.Aside.SQL())
}

// bind adds the foreign keys that could not be there before.
func (st step) bind(ctx context.Context, s *session) error {
	if len(st.Keys) == 0 {
		return nil
	}
	has, err := Keys(ctx, s.conn, st.Target)
	if err != nil {
		return err
	}
	for _, k := range st.Keys {
		if slices.ContainsFunc(has, k.like) {
			continue
		}
		if err := s.exec(ctx, k.add(st.Target, k.To)); err != nil {
			return err
		}
	}
	return nil
}
