// Package config is the file /etc/holdstill/holdstill.yaml: its shape, its defaults, and all its faults at once.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
)

// DefaultPath is where the file is looked for.
const DefaultPath = "/etc/holdstill/holdstill.yaml"

// Config is the whole file.
type Config struct {
	// Instances are the servers by the names that people give them.
	Instances map[string]*Instance `yaml:"instances"`
	// Hooks are the hosts that call us around their own snapshots, by the words after "holdstill hook".
	Hooks map[string]*Hook `yaml:"hooks"`
	// Retention is which points are kept, of all instances.
	Retention *Retention `yaml:"retention"`
	// Repository is where points are kept off this machine; nil: nowhere, or where the machine was connected to by a command.
	Repository *Repository `yaml:"repository"`

	path string
	node yaml.Node
}

// Instance is one server.
type Instance struct {
	Name string `yaml:"-"`
	Kind string `yaml:"kind"` // scripts; left out for a server

	Scripts Scripts `yaml:",inline"`

	// How to reach it. Nothing set means: root over the socket of the server that runs here.
	OptionFile       string `yaml:"option_file"`        // the server's own option file; tells socket and port
	Socket           string `yaml:"socket"`             // instead of the option file's
	Host             string `yaml:"host"`               // TCP instead of the socket
	Port             int    `yaml:"port"`               // default 3306
	User             string `yaml:"user"`               // default root
	ClientOptionFile string `yaml:"client_option_file"` // [client] user and password; mode 0600

	// Policy.
	Mode     database.Mode       `yaml:"mode"`      // auto, hot, locked, cold
	Require  catalog.Consistency `yaml:"require"`   // application, filesystem, crash
	MaxStall Duration            `yaml:"max_stall"` // the longest time that commits may block
	Patience Duration            `yaml:"patience"`  // how long to wait for a moment quiet enough to hold

	Service     Service     `yaml:"service"`
	Replication Replication `yaml:"replication"`
	Binlog      Binlog      `yaml:"binlog"`
	Dump        Dump        `yaml:"dump"`
	Retention   *Retention  `yaml:"retention"` // over that of the whole file, key by key
}

// Service says how the server's service is stopped and started. Empty: found by itself where possible.
type Service struct {
	Systemd string   `yaml:"systemd"` // a unit
	SysV    string   `yaml:"sysv"`    // a script of /etc/init.d
	Start   string   `yaml:"start"`   // a pair of shell commands
	Stop    string   `yaml:"stop"`
	Timeout Duration `yaml:"timeout"` // for the stop, and again for the server to answer
}

// Replication is what a new replica of this instance needs to know.
type Replication struct {
	Address          string `yaml:"address"`            // HOST:PORT where replicas reach this instance
	ClientOptionFile string `yaml:"client_option_file"` // [client] user and password of the replication account
}

// Duration is a time.Duration written as "1.5s" or "2m".
type Duration time.Duration

// UnmarshalYAML reads a duration such as 500ms, 5s, 2m.
func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	v, err := time.ParseDuration(node.Value)
	if err != nil || v <= 0 {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is no duration: write it as 500ms, 5s or 2m", node.Line, node.Value)}}
	}
	*d = Duration(v)
	return nil
}

// The defaults of an instance.
const (
	DefaultMaxStall       = 5 * time.Second
	DefaultPatience       = time.Minute
	DefaultServiceTimeout = 5 * time.Minute
)

// Default is an instance that nothing is configured for.
func Default(name string) *Instance {
	i := &Instance{Name: name}
	i.fillIn()
	return i
}

func (i *Instance) fillIn() {
	fill(&i.Mode, database.Auto)
	fill(&i.Require, catalog.Application)
	fill(&i.MaxStall, Duration(DefaultMaxStall))
	fill(&i.Patience, Duration(DefaultPatience))
	fill(&i.Service.Timeout, Duration(DefaultServiceTimeout))
	if i.Host != "" {
		fill(&i.Port, 3306)
	}
}

func fill[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Load reads the file at path. All faults are told at once, with their lines; fs.ErrNotExist if there is no file.
func Load(path string) (*Config, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	c := &Config{path: path}
	faults := ownership(path, "written to", 0o022)
	if err := yaml.Unmarshal(content, &c.node); err != nil {
		return nil, c.report(append(faults, err.Error()))
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	var typed *yaml.TypeError
	if err := decoder.Decode(c); errors.As(err, &typed) {
		faults = append(faults, typed.Errors...)
	} else if err != nil && len(bytes.TrimSpace(content)) > 0 {
		return nil, c.report(append(faults, err.Error()))
	}
	faults = append(faults, c.check()...)
	if len(faults) > 0 {
		return nil, c.report(faults)
	}
	return c, nil
}

func (c *Config) report(faults []string) error {
	return fmt.Errorf("the configuration %s has faults:\n  %s", c.path, strings.Join(faults, "\n  "))
}

// Written reports whether there is a file, or the instances were found.
func (c *Config) Written() bool { return c.path != "" }

// Names lists the instances in order.
func (c *Config) Names() []string {
	var out []string
	for name := range c.Instances {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// ownership refuses files that others could change, or read, to gain what root has.
func ownership(path, what string, forbidden fs.FileMode) []string {
	info, err := os.Stat(path)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	if uid := ownerOf(info); uid != 0 && uid != os.Geteuid() {
		out = append(out, fmt.Sprintf("%s belongs to user %d: type: chown root %s", path, uid, path))
	}
	if info.Mode().Perm()&forbidden != 0 {
		out = append(out, fmt.Sprintf("%s can be %s by others (mode %04o): type: chmod go-%s %s",
			path, what, info.Mode().Perm(), map[fs.FileMode]string{0o022: "w", 0o077: "rwx"}[forbidden], path))
	}
	return out
}

// Dirs are the two directories that Holdstill writes to.
type Dirs struct {
	State string // ledgers and catalogue; survives a reboot
	Run   string // locks and evidence of freezes; must not lie on a volume that is frozen, a tmpfs is best
}

// Directories tells them, from HOLDSTILL_STATE and HOLDSTILL_RUN or the defaults.
func Directories() Dirs {
	d := Dirs{State: "/var/lib/holdstill", Run: "/run/holdstill"}
	if v := os.Getenv("HOLDSTILL_STATE"); v != "" {
		d.State = v
	}
	if v := os.Getenv("HOLDSTILL_RUN"); v != "" {
		d.Run = v
	}
	return d
}

// Check refuses directories that others could write to: ledgers hold commands that recover runs as root. What does not exist
// yet is made when it is needed.
func (d Dirs) Check() error {
	var faults []string
	for _, dir := range []string{d.State, d.Runs(), d.Points(), d.Repository(), d.Run} {
		if _, err := os.Stat(dir); err == nil {
			faults = append(faults, ownership(dir, "written to", 0o022)...)
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("refused: %s", strings.Join(faults, "; "))
	}
	return nil
}

// Runs is where the ledgers are.
func (d Dirs) Runs() string { return filepath.Join(d.State, "runs") }

// Tables is where what points hold is kept, once it was looked at.
func (d Dirs) Tables() string { return filepath.Join(d.State, "tables") }

// Replaced is where the views, routines and events are kept that a restore of a database has replaced.
func (d Dirs) Replaced() string { return filepath.Join(d.State, "replaced") }

// DumpsOf is where the live dumps of an instance go if nothing is configured.
func (d Dirs) DumpsOf(instance string) string { return filepath.Join(d.State, "dumps", instance) }

// Points is where the catalogue is.
func (d Dirs) Points() string { return filepath.Join(d.State, "points") }
