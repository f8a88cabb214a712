package wire

import (
	"fmt"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hook/aws"
	"github.com/holdstill/holdstill/internal/hook/azure"
	"github.com/holdstill/holdstill/internal/hook/gcp"
	"github.com/holdstill/holdstill/internal/hook/qemu"
	"github.com/holdstill/holdstill/internal/hook/veeam"
	"github.com/holdstill/holdstill/internal/hook/vmware"
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
