// Package veeam speaks the contract of Veeam Agent for Linux: it runs a script before and one after it makes its own snapshot of the
// volumes, and takes 0 for success.
package veeam

import (
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
)

const (
	prePath  = "/etc/holdstill/veeam-pre-freeze.sh"
	postPath = "/etc/holdstill/veeam-post-thaw.sh"

	limit = 5 * time.Minute   // of the ten that the agent waits
	hold  = 120 * time.Second // its snapshot takes seconds, and commits stall all that time
)

type personality struct{}

// New returns Veeam's personality.
func New() hook.Personality { return personality{} }

func (personality) Name() string { return "veeam" }
func (personality) Host() string { return "Veeam Agent for Linux" }

func (personality) Forms() [][2]string {
	return [][2]string{
		{"pre", "the pre-freeze script: hold"},
		{"post", "the post-thaw script: release, and record the point"},
	}
}

func (personality) Parse(args []string) (hook.Call, error) {
	if len(args) != 1 || args[0] != string(hook.Pre) && args[0] != string(hook.Post) {
		return hook.Call{}, fmt.Errorf("veeam: say pre or post, and nothing else")
	}
	return hook.Call{Verb: hook.Verb(args[0])}, nil
}

func (personality) Terms() hook.Terms { return hook.Terms{Limit: limit, Hold: hold, Renew: true} }

func (personality) ExitCode(verb hook.Verb, outcome hook.Outcome) int {
	return hook.PlainExitCode(verb, outcome)
}

func (p personality) Files(site hook.Site) ([]hook.File, error) {
	return []hook.File{
		{Path: prePath, Content: site.Script(p.Host(), "veeam", "pre"), Mode: 0o700, Why: "the pre-freeze script"},
		{Path: postPath, Content: site.Script(p.Host(), "veeam", "post"), Mode: 0o700, Why: "the post-thaw script",
			Register: "Name both in the backup job (Server edition; volume level, with a snapshot): veeamconfig job edit, or in the wizard under " +
				"Scripts: pre-freeze " + prePath + ", post-thaw " + postPath + "."},
	}, nil
}
