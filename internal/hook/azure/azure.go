// Package azure speaks the pre- and post-script framework of Azure VM Backup: the extension runs "sh SCRIPT PARAMETERS", freezes the
// file systems itself, has the disks cut, thaws, and runs the post script, also after a pre that failed or timed out.
package azure

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
)

const (
	configPath = "/etc/azure/VMSnapshotScriptPluginConfig.json"
	prePath    = "/etc/azure/holdstill-pre.sh"
	postPath   = "/etc/azure/holdstill-post.sh"

	limit = 25 * time.Second // below the 30 s of the published configuration, which may lie on the machine with our scripts in it
	hold  = 90 * time.Second // the extension gives its freeze 60 s, and sleeps for seconds around it
	// hostWaits is the time that we let the host wait for a script. It does not kill one that is late, it only goes on without it: so
	// it has to wait until a pre that failed at its limit has taken back everything, and until a post has recorded its points.
	hostWaits = 60
)

type personality struct{}

// New returns Azure's personality.
func New() hook.Personality { return personality{} }

func (personality) Name() string { return "azure" }
func (personality) Host() string { return "Azure VM Backup" }

func (personality) Forms() [][2]string {
	return [][2]string{
		{"pre [PARAMETER...]", "the pre script: hold"},
		{"post [PARAMETER...]", "the post script: release, and record the point"},
	}
}

// Parse takes any parameters: the host passes on what its configuration lists.
func (personality) Parse(args []string) (hook.Call, error) {
	if len(args) == 0 {
		return hook.Call{}, fmt.Errorf("azure: say pre or post")
	}
	call := hook.Call{Verb: hook.Verb(args[0])}
	if call.Verb != hook.Pre && call.Verb != hook.Post {
		return hook.Call{}, fmt.Errorf("azure: %q is not pre or post", args[0])
	}
	if len(args) > 1 {
		call.Details = map[string]string{"parameters": strings.Join(args[1:], " ")}
	}
	return call, nil
}

func (personality) Terms() hook.Terms { return hook.Terms{Limit: limit, Hold: hold, Renew: true} }

// ExitCode answers a post after a pre that failed with 0: the host calls it all the same, and knows already.
func (personality) ExitCode(verb hook.Verb, outcome hook.Outcome) int {
	if verb == hook.Post && outcome == hook.Refused {
		return 0
	}
	return hook.PlainExitCode(verb, outcome)
}

func (p personality) Files(site hook.Site) ([]hook.File, error) {
	present, _, err := site.Present(configPath, 0)
	if err != nil {
		return nil, err
	}
	content, displaced := pluginConfig(present)
	config := hook.File{Path: configPath, Content: content, Mode: 0o600, Why: "names the scripts to the backup extension"}
	if displaced != "" {
		config.Register = "The scripts that were named in " + configPath + " are not called any more: " + displaced +
			". If they quiesce something other than these servers, give them a plugin of their own in /etc/azure/VMSnapshotPluginHost.conf."
	}
	return []hook.File{
		{Path: prePath, Content: site.Script(p.Host(), "azure", "pre"), Mode: 0o700, Why: "the pre script"},
		{Path: postPath, Content: site.Script(p.Host(), "azure", "post"), Mode: 0o700, Why: "the post script"},
		config, // last: it names the others
	}, nil
}
