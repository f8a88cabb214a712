package external

import (
	"context"
	"fmt"
	"maps"

	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

type cut struct {
	provider *Provider
	refs     []snapshot.Ref
}

// Prepare tells the gate what has to be in the snapshot.
func (p *Provider) Prepare(_ context.Context, run string, units []snapshot.Unit) (snapshot.Cut, error) {
	c := &cut{provider: p}
	var mountpoints []string
	for i, u := range units {
		if u.FrozenBy != "" {
			mountpoints = append(mountpoints, u.Detail[detailMount])
		}
		c.refs = append(c.refs, snapshot.Ref{
			Provider: Name, Name: fmt.Sprintf("%s-%s-%d", run, p.name, i), Run: run, Unit: u.Key, Detail: maps.Clone(u.Detail),
		})
	}
	p.gate.Enter(mountpoints)
	return c, nil
}

// Step waits for the host. Its undo has nothing to do.
func (c *cut) Step() undo.Step[[]snapshot.Ref] {
	deed := undo.NewDeed(Kind, "cut", "let "+c.provider.host+" take its snapshot", "", c.refs)
	deed.UntilCommit = true
	return undo.Step[[]snapshot.Ref]{Deed: deed, Act: c.act, Undo: func(context.Context) error { return nil }}
}

func (c *cut) act(ctx context.Context) ([]snapshot.Ref, error) {
	said, err := c.provider.gate.Pass(ctx)
	if err != nil {
		return nil, err
	}
	for _, ref := range c.refs {
		for k, v := range said {
			if _, ours := ref.Detail[k]; !ours {
				ref.Detail[k] = v
			}
		}
	}
	return c.refs, nil
}

// Settle leaves durability to the host.
func (*cut) Settle(context.Context) error { return nil }

// Close leaves the gate.
func (c *cut) Close() error {
	c.provider.gate.Leave()
	return nil
}
