package veeam

import (
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hook/hooktest"
)

func TestContract(t *testing.T) {
	hooktest.Run(t, New(), hooktest.Spec{
		Name: "veeam", Limits: 10 * time.Minute,
		Terms: hook.Terms{Limit: 5 * time.Minute, Hold: 120 * time.Second, Renew: true},
		Calls: []hooktest.Call{
			{Args: []string{"pre"}, Want: hook.Call{Verb: hook.Pre}},
			{Args: []string{"post"}, Want: hook.Call{Verb: hook.Post}},
		},
		Refuses: [][]string{{"pre", "x"}, {"abort"}, {"probe"}},
		Codes: map[hook.Verb]map[hook.Outcome]int{
			hook.Pre:  {hook.Held: 0, hook.NotReady: 1, hook.TimedOut: 1, hook.Failed: 1, hook.Already: 1, hook.Aborted: 1},
			hook.Post: {hook.Released: 0, hook.Lost: 1, hook.Expired: 1, hook.NoHold: 1, hook.Refused: 1, hook.Failed: 1, hook.Aborted: 1},
		},
	})
}
