package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/plan"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/take"
	"github.com/holdstill/holdstill/internal/wire"
)

// errNoInstance means that the name is not configured, nor that of a server that runs here.
var errNoInstance = errors.New("there is no instance")

// configuration loads the file, or, where there is none at the default place, takes the servers that run here.
func (a *app) configuration(ctx context.Context) (*config.Config, error) {
	c, err := config.Load(a.configPath)
	switch {
	case err == nil:
		return c, knownHosts(c)
	case errors.Is(err, fs.ErrNotExist) && a.configPath == config.DefaultPath:
		return wire.Discover(ctx)
	}
	return nil, usageError{err}
}

// knownHosts refuses the terms of a host that nobody speaks for: what they were to change would stay as it is.
func knownHosts(c *config.Config) error {
	for _, host := range slices.Sorted(maps.Keys(c.Hooks)) {
		if _, err := wire.PersonalityNamed(host); err != nil {
			return usagef("hooks: %w", err)
		}
	}
	return nil
}

// instance picks one by name; with one configured, the name may be left out.
func (a *app) instance(ctx context.Context, args []string) (*config.Instance, error) {
	c, err := a.configuration(ctx)
	if err != nil {
		return nil, err
	}
	names := c.Names()
	if len(args) == 0 && len(names) > 1 && !c.Written() && c.Instances[wire.Local] != nil {
		return c.Instances[wire.Local], nil // the machine's own server, beside others such as a restored one
	}
	if len(args) > 0 && args[0] != "" {
		if i, ok := c.Instances[args[0]]; ok {
			return i, nil
		}
		return nil, usageError{fmt.Errorf("%w %q: %s", errNoInstance, args[0], known(names))}
	}
	if len(names) == 1 {
		return c.Instances[names[0]], nil
	}
	return nil, usagef("name the instance: %s", known(names))
}

func known(names []string) string {
	if len(names) == 0 {
		return "no instance is configured, and no server was found running on this machine"
	}
	return "known are " + strings.Join(names, ", ")
}

// inquiry is an instance with an open server, its facts, and the plan that follows from them.
type inquiry struct {
	instance *config.Instance
	endpoint database.Endpoint
	server   database.Server
	facts    *database.Facts
	offers   []plan.Offer
	plan     *plan.Plan
}

func (q *inquiry) close() { _ = q.server.Close() }

// inquire connects, asks, and plans. It changes nothing.
func (a *app) inquire(ctx context.Context, i *config.Instance, policy plan.Policy) (*inquiry, error) {
	return a.inquireOf(ctx, i, policy, wire.Providers())
}

// inquireOf plans with these providers.
func (a *app) inquireOf(ctx context.Context, i *config.Instance, policy plan.Policy, providers []snapshot.Provider) (_ *inquiry, err error) {
	q := &inquiry{instance: i}
	if q.server, q.endpoint, err = wire.OpenInstance(ctx, i, a.dirs.Run, a.log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			q.close()
		}
	}()
	if q.facts, err = q.server.Facts(ctx); err != nil {
		return nil, fmt.Errorf("cannot learn the facts of %s: %w", i.Name, err)
	}
	if q.offers, err = take.Survey(ctx, q.facts, providers); err != nil {
		return nil, err
	}
	in := plan.Input{Facts: q.facts, Offers: q.offers, Policy: policy, RunDir: wire.Place(a.dirs.Run)}
	if s, err := wire.Service(i, q.facts); err == nil {
		in.Service = &s
	} else {
		in.NoService = err.Error()
	}
	q.plan = plan.Make(in)
	if earlier := a.earlier(i.Name, q.plan); len(earlier) > 0 {
		in.Earlier = earlier
		q.plan = plan.Make(in)
	}
	return q, nil
}

func policyOf(i *config.Instance) plan.Policy {
	return plan.Policy{Mode: i.Mode, Require: i.Require, MaxStall: duration(i.MaxStall), Patience: duration(i.Patience)}
}
