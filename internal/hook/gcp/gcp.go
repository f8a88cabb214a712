// Package gcp speaks the contract of the Google Compute Engine guest agent: it runs a pre and a post script around a snapshot with guest
// flush, tells them the disks, and freezes nothing. It waits until everybody has closed the scripts' outputs.
package gcp

import (
	"fmt"
	"strconv"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/inifile"
)

const (
	prePath    = "/etc/google/snapshots/pre.sh"
	postPath   = "/etc/google/snapshots/post.sh"
	configPath = "/etc/default/instance_configs.cfg"
	section    = "Snapshots"

	limit     = 50 * time.Second
	hold      = 60 * time.Second
	hostWaits = 60 // seconds, the agent's default; we must be done before

	timedOut = 124 // the exit code that the agent takes for a timeout
)

type personality struct{}

// New returns Google's personality.
func New() hook.Personality { return personality{} }

func (personality) Name() string { return "gcp" }
func (personality) Host() string { return "the Google Compute Engine guest agent" }

func (personality) Forms() [][2]string {
	return [][2]string{
		{"pre [TARGET/LUN,...]", "before the snapshot of these disks: hold and freeze"},
		{"post [TARGET/LUN,...]", "after it: thaw, release, and record the point"},
	}
}

func (personality) Parse(args []string) (hook.Call, error) {
	if len(args) == 0 || len(args) > 2 {
		return hook.Call{}, fmt.Errorf("gcp: say pre or post, and the disks as one word")
	}
	call := hook.Call{Verb: hook.Verb(args[0])}
	if call.Verb != hook.Pre && call.Verb != hook.Post {
		return hook.Call{}, fmt.Errorf("gcp: %q is not pre or post", args[0])
	}
	if len(args) == 2 && args[1] != "" {
		call.Details = map[string]string{"disks": args[1]}
	}
	return call, nil
}

func (personality) Terms() hook.Terms {
	return hook.Terms{Limit: limit, Hold: hold, Freeze: true, Renew: true}
}

func (personality) ExitCode(verb hook.Verb, outcome hook.Outcome) int {
	if verb == hook.Pre && outcome == hook.TimedOut {
		return timedOut
	}
	return hook.PlainExitCode(verb, outcome)
}

func (p personality) Files(site hook.Site) ([]hook.File, error) {
	present, mode, err := site.Present(configPath, 0o644)
	if err != nil {
		return nil, err
	}
	return []hook.File{
		{Path: prePath, Content: site.Script(p.Host(), "gcp", "pre"), Mode: 0o700, DirMode: 0o700, Why: "runs before the snapshot"},
		{Path: postPath, Content: site.Script(p.Host(), "gcp", "post"), Mode: 0o700, DirMode: 0o700, Why: "runs after the snapshot"},
		{Path: configPath, Content: enable(present), Mode: mode, Why: "makes the agent run them (section [Snapshots]; the rest stays)",
			Register: "Restart the agent: systemctl restart google-guest-agent. Then take snapshots with guest flush: " +
				"gcloud compute disks snapshot DISK --zone ZONE --guest-flush (in a schedule: --guest-flush as well)."},
	}, nil
}

// enable leaves a longer timeout that somebody chose.
func enable(present []byte) []byte {
	content := inifile.Set(present, section, "enabled", "true")
	had, _ := inifile.Get(content, section, "timeout_in_seconds")
	if seconds, err := strconv.Atoi(had); err != nil || seconds < hostWaits {
		content = inifile.Set(content, section, "timeout_in_seconds", strconv.Itoa(hostWaits))
	}
	return content
}
