// Package qemu speaks the contract of the QEMU guest agent: it runs one program with "freeze" before it freezes the file systems, and with
// "thaw" after it thawed them. It waits without a limit, and gives the program no output. A freeze that fails ends it all, without a thaw.
package qemu

import (
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
)

const (
	limit = 60 * time.Second // the agent has none; its callers give up after a minute or more
	hold  = 120 * time.Second
)

type personality struct{}

// New returns the personality of the QEMU guest agent.
func New() hook.Personality { return personality{} }

func (personality) Name() string { return "qemu" }
func (personality) Host() string { return "the QEMU guest agent" }

func (personality) Forms() [][2]string {
	return [][2]string{
		{"freeze", "before the agent freezes: hold"},
		{"thaw", "after it thawed: release, and record the point"},
	}
}

func (personality) Parse(args []string) (hook.Call, error) {
	if len(args) != 1 {
		return hook.Call{}, fmt.Errorf("qemu: say freeze or thaw, and nothing else")
	}
	verb, ok := map[string]hook.Verb{"freeze": hook.Pre, "thaw": hook.Post}[args[0]]
	if !ok {
		return hook.Call{}, fmt.Errorf("qemu: %q is not freeze or thaw", args[0])
	}
	return hook.Call{Verb: verb}, nil
}

func (personality) Terms() hook.Terms { return hook.Terms{Limit: limit, Hold: hold, Renew: true} }

// ExitCode answers a thaw after a freeze that failed with 0: only our dispatcher calls it, to clean up, and the agent knows already.
func (personality) ExitCode(verb hook.Verb, outcome hook.Outcome) int {
	if verb == hook.Post && outcome == hook.Refused {
		return 0
	}
	return hook.PlainExitCode(verb, outcome)
}
