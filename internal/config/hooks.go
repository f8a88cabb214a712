package config

import (
	"fmt"
	"slices"
)

// Hook is what a host's calls hold, and how long; nothing set means: every server, on the host's own terms.
type Hook struct {
	Instances []string `yaml:"instances"` // default: every server
	Limit     Duration `yaml:"limit"`     // how long a pre may take; less than the host waits for it
	Hold      Duration `yaml:"hold"`      // how long the host may take from pre to post; then everything is released
	Freeze    *bool    `yaml:"freeze"`    // whether we freeze the file systems, as the host does not
}

// hookFaults are those of the hooks; which hosts there are is known elsewhere.
func (c *Config) hookFaults() []string {
	var faults []string
	for host, h := range c.Hooks {
		if h == nil {
			continue
		}
		for i, name := range h.Instances {
			line := c.line("hooks", host, "instances")
			if c.Instances[name] == nil {
				faults = append(faults, fmt.Sprintf("line %d: hook %s: there is no instance %q", line, host, name))
			} else if slices.Index(h.Instances, name) < i { // it would wait for itself
				faults = append(faults, fmt.Sprintf("line %d: hook %s: the instance %q is named twice", line, host, name))
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// Held are the instances that a host's calls hold.
func (c *Config) Held(host string) []*Instance {
	names := c.Names()
	asked := c.Hooks[host] != nil && len(c.Hooks[host].Instances) > 0
	if asked {
		names = c.Hooks[host].Instances
	}
	var out []*Instance
	for _, name := range names {
		if i := c.Instances[name]; asked || i.Kind != KindScripts { // scripts that a host runs are not ours to run in its hook
			out = append(out, i)
		}
	}
	return out
}
