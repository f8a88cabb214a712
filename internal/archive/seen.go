package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/google/renameio/v2"
)

// seenFile is in the archive's directory: which replicas the server has told of when somebody looked. A server forgets a replica that disconnects, and it is
// just that one for whose sake logs must stay.
const seenFile = "replicas"

// seen is a replica that was connected once.
type seen struct {
	ID   uint32    `json:"server_id"`
	Name string    `json:"name"`
	Last time.Time `json:"last"`
}

func readSeen(dir string) ([]seen, error) {
	raw, err := os.ReadFile(filepath.Join(dir, seenFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []seen
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read which replicas there were: %w", err)
	}
	return out, nil
}

// remember returns the replicas that were seen once and are not there now, and notes all but those that shall be forgotten.
func (p *purger) remember(there []Reader) (away []Reader, err error) {
	dir := p.Archive.dir
	all, err := readSeen(dir)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(s seen) bool { return slices.ContainsFunc(there, func(r Reader) bool { return r.ID == s.ID }) })
	for _, s := range all {
		away = append(away, Reader{Name: s.Name, ID: s.ID, State: "not connected, last seen at " + s.Last.Format(time.RFC3339),
			Blocks: fmt.Sprintf("the replica %s is not connected (last seen at %s), and what it has read is not known; if it is gone for good: --ignore-replica %d", s.Name, s.Last.Format(time.RFC3339), s.ID)})
	}
	if p.DryRun {
		return away, nil
	}
	all = slices.DeleteFunc(all, func(s seen) bool { return slices.Contains(p.Ignore, strconv.FormatUint(uint64(s.ID), 10)) })
	for _, r := range there {
		if r.ID != 0 {
			all = append(all, seen{r.ID, r.Name, p.now.UTC().Truncate(time.Second)})
		}
	}
	raw, err := json.Marshal(all)
	if err == nil {
		err = renameio.WriteFile(filepath.Join(dir, seenFile), append(raw, '\n'), 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // without a directory nothing is archived, and nothing goes
		return nil, fmt.Errorf("cannot note which replicas there are: %w", err)
	}
	return away, nil
}
