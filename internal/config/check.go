package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"go.yaml.in/yaml/v3"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
)

// instanceName keeps names usable in file names, tags and URLs.
var instanceName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// IsInstanceName tells whether an instance can have the name.
func IsInstanceName(name string) bool { return instanceName.MatchString(name) }

// check returns every fault that the types alone do not show, and fills in the defaults.
func (c *Config) check() []string {
	var faults []string
	for _, name := range c.Names() {
		i := c.Instances[name]
		if i == nil {
			i = &Instance{}
			c.Instances[name] = i
		}
		i.Name = name
		i.fillIn()
		for _, f := range i.faults() {
			faults = append(faults, fmt.Sprintf("line %d: instance %s: %s", c.line("instances", name, f.key), name, f.text))
		}
		for _, f := range i.Binlog.faults() {
			faults = append(faults, fmt.Sprintf("line %d: instance %s: binlog: %s", c.line("instances", name, "binlog", f.key), name, f.text))
		}
		for _, f := range i.Dump.faults() {
			faults = append(faults, fmt.Sprintf("line %d: instance %s: dump: %s", c.line("instances", name, "dump", f.key), name, f.text))
		}
	}
	return slices.Concat(faults, c.hookFaults(), c.retentionFaults(), c.repositoryFaults())
}

type fault struct{ key, text string }

func (i *Instance) faults() []fault {
	var out []fault
	add := func(key, text string, args ...any) { out = append(out, fault{key, fmt.Sprintf(text, args...)}) }

	if !instanceName.MatchString(i.Name) {
		add("", "the name may have letters, digits, dot, dash and underscore, 63 at most")
	}
	if !slices.Contains([]database.Mode{database.Auto, database.Hot, database.Locked, database.Cold}, i.Mode) {
		add("mode", "%q is no mode: auto, hot, locked or cold", i.Mode)
	}
	if !slices.Contains([]catalog.Consistency{catalog.Application, catalog.Filesystem, catalog.Crash}, i.Require) {
		add("require", "%q is no consistency: application, filesystem or crash", i.Require)
	}
	if i.Socket != "" && i.Host != "" {
		add("host", "socket and host exclude each other")
	}
	if i.Port < 0 || i.Port > 65535 {
		add("port", "%d is no port", i.Port)
	}
	for key, path := range map[string]string{"option_file": i.OptionFile, "socket": i.Socket, "client_option_file": i.ClientOptionFile} {
		if path != "" && !filepath.IsAbs(path) {
			add(key, "%q must be an absolute path", path)
		}
	}
	for _, path := range []string{i.ClientOptionFile, i.Replication.ClientOptionFile} {
		if path == "" {
			continue
		}
		for _, text := range ownership(path, "read", 0o077) {
			add("client_option_file", "%s", text)
		}
	}
	return append(append(out, i.kindFaults()...), i.Service.faults()...)
}

func (s Service) faults() []fault {
	var out []fault
	if (s.Start == "") != (s.Stop == "") {
		out = append(out, fault{"service", "start and stop are a pair: give both"})
	}
	ways := 0
	for _, v := range []string{s.Systemd, s.SysV, s.Start} {
		if v != "" {
			ways++
		}
	}
	if ways > 1 {
		out = append(out, fault{"service", "give one of systemd, sysv, or start and stop"})
	}
	return out
}

// line finds the line of the innermost key of a path that is there.
func (c *Config) line(path ...string) int {
	if len(c.node.Content) == 0 {
		return 1
	}
	at, node := 1, c.node.Content[0]
	for _, key := range path {
		line, body := find(node, key)
		if line == 0 {
			break
		}
		at, node = line, body
	}
	return at
}

func find(mapping *yaml.Node, key string) (int, *yaml.Node) {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return 0, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i].Line, mapping.Content[i+1]
		}
	}
	return 0, nil
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return os.Geteuid()
}
