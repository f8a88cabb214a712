package vmware

import (
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hook/hooktest"
)

func TestContract(t *testing.T) {
	hooktest.Run(t, New(), hooktest.Spec{
		Name: "vmware", Limits: 15 * time.Minute,
		Terms: hook.Terms{Limit: 120 * time.Second, Hold: 120 * time.Second, Renew: true},
		Calls: []hooktest.Call{
			{Args: []string{"freeze"}, Want: hook.Call{Verb: hook.Pre}},
			{Args: []string{"thaw"}, Want: hook.Call{Verb: hook.Post}},
			{Args: []string{"freezeFail"}, Want: hook.Call{Verb: hook.Abort}},
			{Args: []string{"freeze", "job 7"}, Want: hook.Call{Verb: hook.Pre, Details: map[string]string{"argument": "job 7"}}},
		},
		Refuses: [][]string{{"pre"}, {"freezefail"}, {"freeze", "a", "b"}},
		Codes: map[hook.Verb]map[hook.Outcome]int{
			hook.Pre:   {hook.Held: 0, hook.NotReady: 1, hook.TimedOut: 1, hook.Failed: 1, hook.Already: 1, hook.Aborted: 1},
			hook.Post:  {hook.Released: 0, hook.Lost: 1, hook.Expired: 1, hook.NoHold: 1, hook.Refused: 1, hook.Failed: 1, hook.Aborted: 1},
			hook.Abort: {hook.Aborted: 0, hook.Released: 0, hook.Lost: 0, hook.Expired: 0, hook.NoHold: 0, hook.Refused: 0, hook.Failed: 1},
		},
	})
}
