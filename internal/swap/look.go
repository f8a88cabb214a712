package swap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
)

// old is what is in a new table's place.
type old struct {
	There    bool      `json:"there"`
	Triggers []Trigger `json:"triggers,omitempty"`
	Keys     []Key     `json:"keys,omitempty"`
}

// Refusal is why nothing was swapped; the live tables are as they were.
type Refusal struct {
	Reasons []string
	Help    string
}

func (r *Refusal) Error() string { return "cannot swap the tables: " + strings.Join(r.Reasons, "; ") }

// Hint says what to do.
func (r *Refusal) Hint() string { return r.Help }

// look reads what is in the places.
func look(ctx context.Context, s *session, moves []Move) ([]old, error) {
	out := make([]old, len(moves))
	for i, m := range moves {
		var err error
		if out[i].There, err = s.there(ctx, m.Target); err != nil || !out[i].There {
			if err != nil {
				return nil, err
			}
			continue
		}
		if out[i].Triggers, err = Triggers(ctx, s.conn, m.Target); err != nil {
			return nil, err
		}
		if out[i].Keys, err = Keys(ctx, s.conn, m.Target); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// folding is how the server keeps the names of tables: with lower_case_table_names it knows them in lower case only.
func folding(ctx context.Context, q schema.Querier) (func(schema.Name) schema.Name, error) {
	rows, err := schema.Ask(ctx, q, "SELECT @@lower_case_table_names AS folds")
	if err != nil || rows[0]["folds"] == "0" {
		return func(n schema.Name) schema.Name { return n }, err
	}
	return func(n schema.Name) schema.Name {
		return schema.Name{Database: strings.ToLower(n.Database), Table: strings.ToLower(n.Table)}
	}, nil
}

// asKept are the moves with names as the server keeps them, so that they can be compared with what it tells.
func asKept(ctx context.Context, s *session, moves []Move) ([]Move, error) {
	fold, err := folding(ctx, s.conn)
	out := slices.Clone(moves)
	for i := range out {
		out[i].Target, out[i].Keys = fold(out[i].Target), slices.Clone(out[i].Keys)
		for j := range out[i].Keys {
			out[i].Keys[j].To = fold(out[i].Keys[j].To)
		}
	}
	return out, err
}

// stranded are the keys of tables that stay to those that would go aside: they would go with them. same tells whether two names are one table's.
func stranded(all []schema.ForeignKey, targets []schema.Name, same func(a, b schema.Name) bool) (out []schema.ForeignKey) {
	goes := func(n schema.Name) bool {
		return slices.ContainsFunc(targets, func(t schema.Name) bool { return same(t, n) })
	}
	for _, k := range all {
		if goes(k.To) && !goes(k.From) {
			out = append(out, k)
		}
	}
	return out
}

// refuse looks for what the swap would break. It is looked for again here, as the world may have changed since the plan. It returns the
// code with what is in its places.
func refuse(ctx context.Context, s *Staging, moves []Move, olds []old, code []Code) ([]Code, error) {
	r := &Refusal{}
	code, err := remember(ctx, s.session, code, r)
	if err != nil {
		return nil, err
	}
	var targets []schema.Name
	for i, m := range moves {
		if olds[i].There {
			targets = append(targets, m.Target)
		}
	}
	all, err := schema.ForeignKeys(ctx, s.session.conn)
	if err != nil {
		return nil, err
	}
	asKept := func(a, b schema.Name) bool { return a == b } // Swap has seen to that
	for _, k := range stranded(all, targets, asKept) {
		if k.From.Database == s.Schema {
			continue
		}
		r.Reasons = append(r.Reasons, fmt.Sprintf("the foreign key %s of %s, which stays, refers to %s", k.Name, k.From, k.To))
		r.Help = "restore these tables together, or beside the live ones with --as"
	}
	for _, m := range moves {
		for _, k := range m.Keys {
			if _, inside := byTarget(moves, k.To); inside {
				continue
			}
			if err := orphans(ctx, s, m, k, r); err != nil {
				return nil, err
			}
		}
	}
	if len(r.Reasons) > 0 {
		return nil, r
	}
	return code, nil
}

// orphans looks for rows that refer to rows which a table that stays does not have.
func orphans(ctx context.Context, s *Staging, m Move, k Key, r *Refusal) error {
	there, err := s.session.there(ctx, k.To)
	if err != nil {
		return err
	}
	if !there {
		r.Reasons = append(r.Reasons, fmt.Sprintf("the foreign key %s of %s refers to %s, which the live server does not have", k.Name, m.Target, k.To))
		r.Help = "restore that table too"
		return nil
	}
	rows, err := s.session.ask(ctx, k.orphans(schema.Name{Database: s.Schema, Table: m.Staged}))
	if err != nil {
		return err
	}
	if n := rows[0]["n"]; n != "0" {
		r.Reasons = append(r.Reasons, fmt.Sprintf("%s rows of %s refer, by the foreign key %s, to rows that the live %s does not have", n, m.Target, k.Name, k.To))
		r.Help = "restore that table too, or this one beside the live one with --as"
	}
	return nil
}

func byTarget(moves []Move, n schema.Name) (Move, bool) {
	for _, m := range moves {
		if m.Target == n {
			return m, true
		}
	}
	return Move{}, false
}
