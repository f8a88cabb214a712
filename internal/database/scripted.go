package database

import (
	"errors"
	"time"
)

// Scripts is the product of an application that is no server of ours: scripts of its own hold it still.
const Scripts = "scripts"

// ErrStillHeld means that a hold could not be released, although all went well until then: what was cut is good, and somebody
// has to release the application.
var ErrStillHeld = errors.New("it may still be held")

// Scripted is what a plan has to know of an application that scripts hold.
type Scripted struct {
	Plugins []Plugin `json:"plugins"`
	// Freeze tells whether file systems are to be frozen around the cut (fsFreezeEnabled of all plugins).
	Freeze bool `json:"freeze"`
	// Unfrozen are mount points that are not to be frozen all the same (MountsToSkip).
	Unfrozen []string `json:"unfrozen,omitempty"`
	// FreezeLimit bounds the freeze, beside what the policy says; 0: nothing does.
	FreezeLimit time.Duration `json:"-"`
	// Refused keeps any point from being taken. Lessened keeps a point from being application-consistent, and no more.
	Refused  []Obstacle `json:"refused,omitempty"`
	Lessened []Obstacle `json:"lessened,omitempty"`
	Notes    []string   `json:"notes,omitempty"` // worth knowing
}

// Plugin is one pair of scripts. What they are called with is left out: it may hold passwords.
type Plugin struct {
	Name     string  `json:"name"`
	Config   string  `json:"config"`
	Pre      string  `json:"pre"`
	Post     string  `json:"post"`
	Retries  [2]int  `json:"retries"` // of pre, of post
	Timeout  float64 `json:"timeout_seconds"`
	Continue bool    `json:"continue_on_failure"`
	Freeze   bool    `json:"freeze"`
}

// Obstacle is something that is in the way, and what to do about it.
type Obstacle struct {
	What   string `json:"what"`
	Remedy string `json:"remedy"`
}

// Reporter is a Hold that has more to tell, after its undo.
type Reporter interface {
	Report() Report
}

// Report is what a hold has to tell.
type Report struct {
	Scripts []ScriptRun
	Unheld  error // why the application did not stand still although the hold let the cut go on; nil if it did
}

// ScriptRun is how one script ended.
type ScriptRun struct {
	Plugin string  `json:"plugin"`
	Phase  string  `json:"phase"` // pre or post
	Script string  `json:"script"`
	Code   int     `json:"code"` // 0, or what Azure documents for the failure: 300 to 317
	Exit   int     `json:"exit"` // of the last try; -1 if it did not end by itself, or was not started
	Tries  int     `json:"tries"`
	MS     float64 `json:"ms"`
	Said   string  `json:"message,omitempty"` // why it failed
}
