// Package vmware speaks the contract of VMware Tools (open-vm-tools): for a quiesced snapshot they run every file of backupScripts.d with
// "freeze", freeze the file systems, and afterwards run the files in reverse with "thaw", or with "freezeFail" those before one that failed.
package vmware

import (
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
)

const (
	scriptPath = "/etc/vmware-tools/backupScripts.d/50-holdstill"

	limit = 120 * time.Second // the Tools wait 15 minutes, but nobody wants a server that waits that long for a quiet moment
	hold  = 120 * time.Second
)

type personality struct{}

// New returns the personality of VMware Tools.
func New() hook.Personality { return personality{} }

func (personality) Name() string { return "vmware" }
func (personality) Host() string { return "VMware Tools" }

func (personality) Forms() [][2]string {
	return [][2]string{
		{"freeze [ARGUMENT]", "before the snapshot: hold"},
		{"thaw [ARGUMENT]", "after it: release, and record the point"},
		{"freezeFail [ARGUMENT]", "there is no snapshot: release"},
	}
}

func (personality) Parse(args []string) (hook.Call, error) {
	if len(args) == 0 || len(args) > 2 {
		return hook.Call{}, fmt.Errorf("vmware: say freeze, thaw or freezeFail, and at most one argument")
	}
	verb, ok := map[string]hook.Verb{"freeze": hook.Pre, "thaw": hook.Post, "freezeFail": hook.Abort}[args[0]]
	if !ok {
		return hook.Call{}, fmt.Errorf("vmware: %q is not freeze, thaw or freezeFail", args[0])
	}
	call := hook.Call{Verb: verb}
	if len(args) == 2 && args[1] != "" {
		call.Details = map[string]string{"argument": args[1]}
	}
	return call, nil
}

func (personality) Terms() hook.Terms { return hook.Terms{Limit: limit, Hold: hold, Renew: true} }

func (personality) ExitCode(verb hook.Verb, outcome hook.Outcome) int {
	return hook.PlainExitCode(verb, outcome)
}

func (p personality) Files(site hook.Site) ([]hook.File, error) {
	return []hook.File{{
		Path: scriptPath, Content: site.Script(p.Host(), "vmware"), Mode: 0o755, Why: "runs before and after a quiesced snapshot",
		Register: "Take snapshots with \"quiesce guest file system\" (a backup product: application-aware or quiesced). " +
			"Leave no other file in " + "/etc/vmware-tools/backupScripts.d: the Tools run every one, whatever its name.",
	}}, nil
}
