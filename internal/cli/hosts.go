package cli

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/fatih/color"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/holder"
	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hookfiles"
	"github.com/holdstill/holdstill/internal/plan"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/wire"
)

// hostCheck is what doctor says about a host that calls us.
type hostCheck struct {
	Host   string            `json:"host"`
	OK     bool              `json:"ok"` // a point under this host would be application-consistent
	Plan   *plan.Plan        `json:"plan"`
	Faults []hookfiles.Fault `json:"faults"` // of the files that make the host call us
	name   string
}

// hosts checks, as the hosts would, those whose files are installed or that are configured, and that hold the instance.
func (a *app) hosts(ctx context.Context, i *config.Instance) ([]hostCheck, error) {
	c, err := a.configuration(ctx)
	if err != nil {
		return nil, err
	}
	out := []hostCheck{}
	installer := hookfiles.New("/", a.dirs.State)
	for _, p := range wire.Personalities() {
		installed, err := installer.Installed(p.Name())
		if err != nil {
			return nil, err
		}
		held := slices.ContainsFunc(c.Held(p.Name()), func(h *config.Instance) bool { return h.Name == i.Name })
		if !held || !installed && c.Hooks[p.Name()] == nil {
			continue
		}
		check := hostCheck{Host: p.Name(), Faults: []hookfiles.Fault{}, name: p.Host()}
		if check.Plan, err = a.planUnder(ctx, p, c, i); err != nil {
			return nil, err
		}
		if installed {
			if check.Faults, err = a.installedFaults(installer, p); err != nil {
				return nil, err
			}
		}
		check.OK = check.Plan.OK() && len(check.Faults) == 0
		out = append(out, check)
	}
	return out, nil
}

// planUnder is what a host's pre would do.
func (a *app) planUnder(ctx context.Context, p hook.Personality, c *config.Config, i *config.Instance) (*plan.Plan, error) {
	terms := wire.Terms(p, c.Hooks[p.Name()])
	q, err := a.inquireOf(ctx, i, policyUnder(i, terms), []snapshot.Provider{wire.External(p, terms, &holder.Seat{})}) // nobody will pass the gate
	if err != nil {
		return nil, err
	}
	q.close()
	amend, err := wishes(p)
	if amend != nil {
		amend(q.facts, q.plan)
	}
	return q.plan, err
}

// policyUnder is an instance's policy where a host takes the snapshot.
func policyUnder(i *config.Instance, terms hook.Terms) plan.Policy {
	policy := policyOf(i)
	policy.HostTakes = terms.Hold + afterPost
	policy.Patience = min(policy.Patience, terms.Limit*3/4) // a server that is too busy is to be told as that, before the limit is
	return policy
}

func (a *app) installedFaults(installer *hookfiles.Installer, p hook.Personality) ([]hookfiles.Fault, error) {
	program, err := a.program()
	if err != nil {
		return nil, err
	}
	faults, err := installer.Check(p, program)
	if faults == nil {
		faults = []hookfiles.Fault{}
	}
	return faults, err
}

// printHosts leaves out what the instance's own plan says already.
func printHosts(w io.Writer, hosts []hostCheck, own *plan.Plan) {
	for _, h := range hosts {
		heading(w, "Under "+h.name)
		for _, f := range h.Faults {
			fmt.Fprintf(w, "  %s %s: %s\n      %s\n", color.RedString("x"), printable(f.Path), printable(f.What), printable(f.Remedy))
		}
		for _, text := range h.Plan.Warnings {
			if slices.Contains(own.Warnings, text) {
				continue
			}
			fmt.Fprintf(w, "  %s %s\n", color.YellowString("!"), printable(text))
		}
		for _, problem := range h.Plan.Problems {
			fmt.Fprintf(w, "  %s %s\n      %s\n", color.RedString("x"), printable(problem.What), printable(problem.Remedy))
		}
		switch {
		case h.OK:
			fmt.Fprintf(w, "  %s: %s\n", color.GreenString("application-consistent"), h.Plan.ConsistencyReason)
			fmt.Fprintf(w, "  stall to expect: %s\n", h.Plan.PredictedStall)
		case h.Plan.Consistency == catalog.Application:
			fmt.Fprintf(w, "  %s: the server could be held, but the host will not call as it should\n", color.RedString("not application-consistent"))
		}
	}
}

// anyHost reports whether a host's snapshot would be application-consistent where our own storage cannot cut.
func anyHost(hosts []hostCheck) bool {
	return slices.ContainsFunc(hosts, func(h hostCheck) bool { return h.OK })
}
