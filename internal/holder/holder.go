// Package holder keeps servers held between a host's pre and its post, in a process of its own: the pre starts it, and returns when
// all is held; the post asks it to release. It has no terminal, no pipe and no descriptor of the host's, it ends by itself at
// its deadline, and if it is killed the connections that carry the holds, and the guard of the frozen file systems, end with it.
//
// # Files
//
// Both lie in the run directory, which only root can read and which must not be frozen:
//
//	hook-HOST.sock   the holder listens here while it lives; one JSON request and one JSON reply a connection
//	hook-HOST.json   how far the last hold of this host came, for a post that finds nobody (see Status)
package holder

import (
	"errors"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/hook"
)

// ErrNotReady marks that a server could not be held now, and that nothing was changed.
var ErrNotReady = errors.New("the application is not ready")

// ErrExpired means that the host did not call post in time: everything was released at the deadline.
var ErrExpired = errors.New("the host did not call post in time")

// ErrAborted means that the host gave up, or called pre again.
var ErrAborted = errors.New("the host gave this snapshot up")

// ErrEarly means that the host called post while its pre was still at work.
var ErrEarly = errors.New("the host called post before everything was held, so all was taken back")

// errOver keeps a run from a window that would come after the host's snapshot.
var errOver = errors.New("the host's snapshot is over")

// errOther makes a run leave its window because another one could not enter its own.
var errOther = errors.New("another instance could not be held")

// Result is how a call ended, as it is told to the process that the host called.
type Result struct {
	Outcome hook.Outcome     `json:"outcome"`
	Message string           `json:"message,omitempty"`
	Hint    string           `json:"hint,omitempty"`
	Points  []*catalog.Point `json:"points,omitempty"`
	Log     []string         `json:"log,omitempty"` // lines since the last reply
	Err     error            `json:"-"`
}

// Request is a call that reaches a living holder.
type Request struct {
	Verb    hook.Verb         `json:"verb"`
	Details map[string]string `json:"details,omitempty"`
	Called  time.Time         `json:"called"` // by the host
}
