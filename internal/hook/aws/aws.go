// Package aws speaks the contract of Amazon Data Lifecycle Manager, which runs an SSM document before and after it cuts the volumes of
// an instance. It freezes nothing, waits 10 s unless the policy says otherwise, and reads the reason of a failure from the exit code.
package aws

import (
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
)

const (
	limit = 9 * time.Second
	hold  = 60 * time.Second
)

// The exit codes that the service knows.
const (
	preFailed    = 201
	postFailed   = 202
	autoThawed   = 203 // the deadline had released it before post came
	postExpected = 204 // pre was called, but post was due
	preExpected  = 205 // post was called, but pre was due
	notReady     = 206
)

type personality struct{}

// New returns the personality of Amazon Data Lifecycle Manager.
func New() hook.Personality { return personality{} }

func (personality) Name() string { return "aws" }
func (personality) Host() string { return "Amazon Data Lifecycle Manager" }

func (personality) Forms() [][2]string {
	return [][2]string{
		{"pre-script [EXECUTION_ID]", "before the snapshots: hold and freeze"},
		{"post-script [EXECUTION_ID]", "after they were begun: thaw, release, and record the point"},
		{"dry-run [EXECUTION_ID]", "does nothing: proves that the document reaches the program"},
	}
}

func (personality) Parse(args []string) (hook.Call, error) {
	if len(args) == 0 || len(args) > 2 {
		return hook.Call{}, fmt.Errorf("aws: say pre-script, post-script or dry-run, and the execution's id")
	}
	verb, ok := map[string]hook.Verb{"pre-script": hook.Pre, "post-script": hook.Post, "dry-run": hook.Probe}[args[0]]
	if !ok {
		return hook.Call{}, fmt.Errorf("aws: %q is not pre-script, post-script or dry-run", args[0])
	}
	call := hook.Call{Verb: verb}
	if len(args) == 2 && args[1] != "" && args[1] != noID {
		call.Details = map[string]string{"execution_id": args[1]}
	}
	return call, nil
}

func (personality) Terms() hook.Terms { return hook.Terms{Limit: limit, Hold: hold, Freeze: true} }

// ExitCode never fails a dry run: the contract says that it does nothing and ends with 0. Post is not called after a pre that failed, so
// one that comes all the same is one out of turn.
func (personality) ExitCode(verb hook.Verb, outcome hook.Outcome) int {
	if verb == hook.Probe || outcome.Good(verb) {
		return 0
	}
	if verb == hook.Pre {
		switch outcome {
		case hook.NotReady:
			return notReady
		case hook.Already:
			return postExpected
		}
		return preFailed
	}
	switch outcome {
	case hook.Expired:
		return autoThawed
	case hook.NoHold, hook.Refused:
		return preExpected
	}
	return postFailed
}
