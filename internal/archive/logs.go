package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/holdstill/holdstill/internal/durable"
)

// Logs lists what is archived, in order of Seq.
func (a *Archive) Logs() ([]Log, error) {
	entries, err := readEntries(a.dir)
	if err != nil {
		return nil, err
	}
	logs := make([]Log, 0, len(entries))
	for _, e := range entries {
		logs = append(logs, e.Log)
	}
	return logs, nil
}

// Remove removes a closed log. Its description goes first: without one it is no log any more, and what is left of it is swept when the next
// archiver begins.
func (a *Archive) Remove(l Log) error {
	if !l.Closed {
		return fmt.Errorf("cannot remove the archived log %s: the server still writes to it", l.Name)
	}
	path := a.Path(l)
	err := errors.Join(os.Remove(path+entrySuffix), durable.SyncDir(a.dir))
	if err == nil { // else it is a log still, and needs its bytes
		for _, file := range []string{path, path + markSuffix, path + IndexSuffix} {
			if gone := os.Remove(file); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("cannot remove the archived log %s: %w", l.Name, err)
	}
	return nil
}
