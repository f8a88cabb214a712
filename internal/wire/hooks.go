package wire

import (
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hook/aws"
	"github.com/holdstill/holdstill/internal/hook/azure"
	"github.com/holdstill/holdstill/internal/hook/gcp"
	"github.com/holdstill/holdstill/internal/hook/qemu"
	"github.com/holdstill/holdstill/internal/hook/veeam"
	"github.com/holdstill/holdstill/internal/hook/vmware"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/snapshot/external"
)

// Personalities lists the hosts whose contract is spoken.
func Personalities() []hook.Personality {
	return []hook.Personality{azure.New(), qemu.New(), gcp.New(), aws.New(), vmware.New(), veeam.New()}
}

// PersonalityNamed finds one of them.
func PersonalityNamed(name string) (hook.Personality, error) {
	for _, p := range Personalities() {
		if p.Name() == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("this holdstill does not speak the contract of a host %q", name)
}

// Terms are a host's, with what the configuration says instead.
func Terms(p hook.Personality, h *config.Hook) hook.Terms {
	terms := p.Terms()
	if h == nil {
		return terms
	}
	if h.Limit > 0 {
		terms.Limit = time.Duration(h.Limit)
	}
	if h.Hold > 0 {
		terms.Hold = time.Duration(h.Hold)
	}
	if h.Freeze != nil {
		terms.Freeze = *h.Freeze
	}
	return terms
}

// ByHost reports whether a host took the snapshot of a point.
func ByHost(p *catalog.Point) bool { return p.Snapshot.Provider == external.Name }

// External is the provider of a run that waits for a host's snapshot.
func External(p hook.Personality, terms hook.Terms, gate external.Gate) snapshot.Provider {
	return external.New(p.Name(), p.Host(), terms.Freeze, gate)
}
