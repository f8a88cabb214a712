package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/durable"
)

func (d Dirs) location() string { return filepath.Join(d.Repository(), "location.json") }

// KnownRepository is the one that this machine was connected to without a section in the file; nil: none.
func (d Dirs) KnownRepository() (*Repository, error) {
	content, err := os.ReadFile(d.location())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read which repository this machine is connected to: %w", err)
	}
	// it may name a command, which runs as root
	if faults := ownership(d.location(), "read", 0o077); len(faults) > 0 {
		return nil, fmt.Errorf("refused: %s", strings.Join(faults, "; "))
	}
	r := &Repository{}
	if err := json.Unmarshal(content, r); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w: connect again, with holdstill repository connect --url", d.location(), err)
	}
	return r, nil
}

// KnowRepository remembers the repository; nil forgets it, because the file has a section now.
func (d Dirs) KnowRepository(r *Repository) error {
	if r == nil {
		if err := os.Remove(d.location()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot forget where the repository was: %w", err)
		}
		return nil
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = durable.MakeDir(d.Repository())
	}
	if err == nil {
		err = renameio.WriteFile(d.location(), append(content, '\n'), 0o600, renameio.IgnoreUmask())
	}
	if err == nil {
		err = durable.SyncDir(d.Repository())
	}
	if err != nil {
		return fmt.Errorf("cannot remember where the repository is: %w", err)
	}
	return nil
}
