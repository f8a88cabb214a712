package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/undo"
)

// Status is how far the last hold of a host came. It is written before anything is held and after everything is released, never
// between: the host may have frozen what it lies on.
type Status struct {
	Boot   string    `json:"boot"`
	At     time.Time `json:"at"`
	Ended  bool      `json:"ended"` // false: the holder works, or died
	Result Result    `json:"result"`
}

func statusPath(dir, host string) string { return filepath.Join(dir, "hook-"+host+".json") }

// WriteStatus replaces the status of a host.
func WriteStatus(dir, host string, s Status) error {
	s.Boot, s.At = undo.BootID(), time.Now().UTC()
	content, err := json.Marshal(s)
	if err == nil {
		err = renameio.WriteFile(statusPath(dir, host), content, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot write the status of the hook: %w", err)
	}
	return nil
}

// ReadStatus returns the status of a host's last hold in this boot; false if there was none.
func ReadStatus(dir, host string) (Status, bool, error) {
	var s Status
	content, err := os.ReadFile(statusPath(dir, host))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	if err != nil {
		return s, false, fmt.Errorf("cannot read the status of the hook: %w", err)
	}
	return s, s.Boot == undo.BootID(), nil
}

// Late answers a post that found no holder: what the last hold came to says what the host's snapshot is worth.
func (s Status) Late(terms hook.Terms, now time.Time) Result {
	recent := now.Sub(s.At) < terms.Hold
	switch r := s.Result; {
	case !s.Ended:
		return Result{Outcome: hook.Lost, Message: "the process that held everything died: the snapshot is not application-consistent"}
	case r.Outcome == hook.Expired:
		return r
	case r.Outcome == hook.Lost && recent:
		return r
	case r.Outcome == hook.Released && recent && terms.Renew: // the host says it twice
		return r
	case r.Outcome == hook.Aborted && recent:
		return Result{Outcome: hook.NoHold, Message: "nothing is held: " + r.Message}
	case (r.Outcome == hook.NotReady || r.Outcome == hook.TimedOut || r.Outcome == hook.Failed) && recent:
		return Result{Outcome: hook.Refused, Message: "pre had failed, and nothing is held: " + r.Message}
	}
	return NoHold()
}

// NoHold answers a post that no pre was before.
func NoHold() Result {
	return Result{Outcome: hook.NoHold, Message: "nothing is held: there was no pre before this, so the snapshot is not application-consistent"}
}
