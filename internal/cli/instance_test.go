package cli

import (
	"errors"
	"testing"

	"github.com/holdstill/holdstill/internal/config"
)

func TestKnownHosts(t *testing.T) {
	if err := knownHosts(&config.Config{Hooks: map[string]*config.Hook{"azure": nil, "qemu": {}}}); err != nil {
		t.Error(err)
	}
	var usage usageError
	if err := knownHosts(&config.Config{Hooks: map[string]*config.Hook{"azur": nil}}); !errors.As(err, &usage) {
		t.Error(err)
	}
}
