package take

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// cuts are the prepared cuts of a run, one a provider, in the order in which they are made.
type cuts struct {
	prepared []snapshot.Cut
	promised []*undo.Promised[[]snapshot.Ref]
}

// prepare lets each provider open what it needs for its units.
func (t *taking) prepare(ctx context.Context) (_ *cuts, err error) {
	c := &cuts{}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	for _, name := range providersOf(t.plan.Units) {
		provider, ok := t.Providers[name]
		if !ok {
			return nil, fmt.Errorf("this holdstill has no snapshot provider %q", name)
		}
		var units []snapshot.Unit
		for _, u := range t.plan.Units {
			if u.Provider == name {
				units = append(units, u)
			}
		}
		cut, err := provider.Prepare(ctx, t.Run.ID, units)
		if err != nil {
			return nil, fmt.Errorf("cannot prepare the %s snapshot: %w", name, err)
		}
		c.prepared = append(c.prepared, cut)
	}
	return c, nil
}

func providersOf(units []snapshot.Unit) []string {
	var names []string
	seen := map[string]bool{}
	for _, u := range units {
		if !seen[u.Provider] {
			seen[u.Provider] = true
			names = append(names, u.Provider)
		}
	}
	return names
}

func (c *cuts) promise(run *undo.Run) error {
	for _, cut := range c.prepared {
		p, err := undo.Promise(run, cut.Step())
		if err != nil {
			return err
		}
		c.promised = append(c.promised, p)
	}
	return nil
}

func (c *cuts) act(ctx context.Context) ([]snapshot.Ref, error) {
	refs := make([]snapshot.Ref, 0, 8)
	for _, p := range c.promised {
		r, err := p.Act(ctx)
		if err != nil {
			return nil, err
		}
		refs = append(refs, r...)
	}
	return refs, nil
}

func (c *cuts) undo(ctx context.Context, run *undo.Run) error {
	var all []error
	for _, p := range c.promised {
		all = append(all, run.Undo(ctx, p.Receipt))
	}
	return errors.Join(all...)
}

// Settle makes all cuts durable.
func (c *cuts) Settle(ctx context.Context) error {
	var all []error
	for _, cut := range c.prepared {
		all = append(all, cut.Settle(ctx))
	}
	return errors.Join(all...)
}

// Close gives back what was opened; the cuts stay.
func (c *cuts) Close() {
	for _, cut := range c.prepared {
		_ = cut.Close()
	}
}
