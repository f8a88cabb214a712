package cli

import (
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/wire"
)

// TestPatienceUnderAHost: every host hears that a server is busy before it hears that the time was over, and the hold outlasts its time.
func TestPatienceUnderAHost(t *testing.T) {
	for _, p := range wire.Personalities() {
		terms := p.Terms()
		policy := policyUnder(&config.Instance{Patience: config.Duration(time.Hour), MaxStall: config.Duration(time.Second)}, terms)
		if policy.Patience > terms.Limit-time.Second || policy.Patience < terms.Limit/2 || policy.Budget().Total <= terms.Hold {
			t.Errorf("%s: patience %s, hold %s, of %+v", p.Name(), policy.Patience, policy.Budget().Total, terms)
		}
	}
}
