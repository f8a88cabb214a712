package offsite

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

// State is how far a repository has an archive, as its shipper last saw it. It is for people, and saves the next shipper some reading: if it is
// lost, or older than the truth after a power cut, the repository itself is asked.
type State struct {
	Repository string `json:"repository"` // its id
	Archive    string `json:"archive"`
	// Seq, File and Offset are the place up to which everything is in the repository, and Time is that of the last event before it.
	Seq    int       `json:"seq"`
	File   string    `json:"file"`
	Offset int64     `json:"offset"`
	Time   time.Time `json:"time,omitzero"`
	At     time.Time `json:"at,omitzero"` // when something was last sent
	// Error is why nothing can be sent, since when, and Retry when it is tried again; "": all is well.
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Retry time.Time `json:"retry,omitzero"`
}

const stateFile = "shipping"

// ReadState reads what the shipper of an archive's directory noted; nil: nothing was.
func ReadState(dir string) *State {
	raw, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil
	}
	s := &State{}
	if json.Unmarshal(raw, s) != nil {
		return nil
	}
	return s
}

func (s *State) write(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, stateFile), append(raw, '\n'), 0o600)
}

// Unshipped are the bytes of an archive that are not in the repository yet. sizes are those of its logs, by their places.
func (s *State) Unshipped(sizes map[int]int64) int64 {
	var total int64
	for seq, size := range sizes {
		switch {
		case s == nil || seq > s.Seq:
			total += size
		case seq == s.Seq:
			total += max(0, size-s.Offset)
		}
	}
	return total
}
