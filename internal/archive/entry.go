package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/durable"
)

const (
	entrySuffix = ".json"
	markSuffix  = ".mark"
)

// entry is a log's description as it is on disk.
type entry struct {
	Log
	Tail int64 `json:"tail"` // where the last event begins
	Ends byte  `json:"ends"` // the type of that event
	// Broken is why nothing follows on this log although the server is the same: it was found to hold something else.
	Broken string `json:"broken,omitempty"`
	// Instead is the server that is followed, where another one's log was read since it had no more what is in it; nil: it is the log's.
	Instead *Server `json:"instead,omitempty"`
}

// followed is the server that archiving goes on with, if it is there.
func (e *entry) followed() Server {
	if e.Instead != nil {
		return *e.Instead
	}
	return e.Server
}

// put replaces the description, durably.
func (e *entry) put(dir string) error {
	raw, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, fileName(e.Seq, e.Name)+entrySuffix), append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// readEntries reads all descriptions, and completes that of a log that is not closed from its bytes.
func readEntries(dir string) ([]*entry, error) {
	names, err := entryNames(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the binary log archive: %w", err)
	}
	var out []*entry
	for _, name := range names {
		e, err := readEntry(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // pruned meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the binary log archive: %w", err)
		}
		if !e.Closed {
			if err := e.catchUp(dir); err != nil {
				return nil, fmt.Errorf("cannot read the archived log %s: %w", e.Name, err)
			}
		}
		out = append(out, e)
	}
	return out, nil
}

func entryNames(dir string) ([]string, error) {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range found {
		if strings.HasSuffix(f.Name(), entrySuffix) && !strings.HasPrefix(f.Name(), ".") {
			out = append(out, f.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

func readEntry(path string) (*entry, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	e := &entry{}
	if err := json.Unmarshal(raw, e); err != nil {
		return nil, fmt.Errorf("the description %s is damaged: %w", path, err)
	}
	if want := fileName(e.Seq, e.Name) + entrySuffix; filepath.Base(path) != want {
		return nil, fmt.Errorf("the description %s is that of %s", path, want)
	}
	return e, nil
}
