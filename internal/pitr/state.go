package pitr

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/restore"
)

// State is what is known of a copy that was restored, so that it can be taken further: a file beside its option file
// (restore.StateName). It holds no secret.
type State struct {
	Version int            `json:"version"`
	Point   *catalog.Point `json:"point"` // that it was restored from
	Datadir string         `json:"datadir"`
	Server  string         `json:"server"` // its program
	Upgrade bool           `json:"upgrade,omitempty"`
	Port    int            `json:"port"`
	Bind    string         `json:"bind_address"`
	User    string         `json:"user,omitempty"`
	Account string         `json:"client_option_file,omitempty"`

	Stands  Stand             `json:"stands"`
	Own     database.Position `json:"own"`               // where the copy's own binary log stood then: what is behind it is not of a replay
	Wanted  string            `json:"wanted,omitempty"`  // the moment that was asked for
	Stopped string            `json:"stopped,omitempty"` // why the replay did not get there
	Going   *Going            `json:"going,omitempty"`   // a replay is under way, or was cut off
}

// Going is a replay from where the copy stands.
type Going struct {
	Boot    string    `json:"boot"` // of the machine: what a server wrote and did not sync is lost with it
	Since   time.Time `json:"since"`
	Wanted  string    `json:"wanted"`
	LeftOut []string  `json:"left_out,omitempty"`
	// Nameless: some transactions of it have no GTID.
	Nameless bool   `json:"nameless,omitempty"`
	Applied  string `json:"applied,omitempty"` // MariaDB: gtid_slave_pos before
}

const stateVersion = 1

// ReadState reads the state of a copy from its configuration directory.
func ReadState(configDir string) (*State, error) {
	path := filepath.Join(configDir, restore.StateName)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s does not say where a copy stands: it is missing", path)
	}
	if err != nil {
		return nil, err
	}
	s := &State{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("cannot read where the copy stands: %s is damaged: %w", path, err)
	}
	if s.Version != stateVersion || s.Point == nil {
		return nil, fmt.Errorf("cannot read where the copy stands: %s is of another version of holdstill (%d)", path, s.Version)
	}
	s.Stands.Point, s.Stands.Copy = s.Point, s.Datadir
	return s, nil
}

// Write replaces the file, durably.
func (s *State) Write(configDir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = renameio.WriteFile(filepath.Join(configDir, restore.StateName), append(raw, '\n'), 0o600)
	}
	if err == nil {
		err = durable.SyncDir(configDir)
	}
	if err != nil {
		return fmt.Errorf("cannot note where the copy stands: %w", err)
	}
	return nil
}

// newState is that of a restore under way.
func newState(r restore.Request, plan *restore.Plan) *State {
	return &State{
		Version: stateVersion, Point: r.Point, Datadir: r.Datadir, Server: plan.Server.Path, Upgrade: r.Upgrade, Port: plan.Port, Bind: r.BindAddress,
		User: r.Account.User, Account: r.Account.OptionFile, Stands: StandOf(r.Point), Own: r.Point.Position,
	}
}

// Request is what is asked of a restore to go on with the copy.
func (s *State) Request(configDir string) restore.Request {
	return restore.Request{
		Point: s.Point, Datadir: s.Datadir, ConfigDir: configDir, Server: s.Server, Upgrade: s.Upgrade, Port: s.Port, BindAddress: s.Bind,
		Account: database.Endpoint{User: s.User, OptionFile: s.Account},
	}
}

// bootID tells one run of the machine from another.
func bootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(raw), err
}
