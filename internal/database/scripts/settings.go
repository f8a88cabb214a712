package scripts

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/holdstill/holdstill/internal/database"
)

// Spec is an instance of the kind scripts, as it is configured.
type Spec struct {
	PluginConfig string   // one plugin, by itself
	HostConfig   string   // or those of a host's configuration; where both are empty, the usual one that is there
	BackupConfig string   // vmbackup.conf; empty: the usual one, if it is there
	Paths        []string // what a point has to hold
	RunDir       string   // on a tmpfs: what was started is noted here
}

// settings are all of an application's files, read once.
type settings struct {
	plugins []*plugin
	backup  backup
	notes   []string
	faults  []*Failure // without which nothing can be run
}

func (s Spec) read() *settings {
	out := &settings{}
	most, places := mostTimeout, []place{{config: s.PluginConfig}}
	switch {
	case s.HostConfig != "" || s.PluginConfig == "" && there(UsualHost):
		if s.HostConfig == "" {
			s.HostConfig = UsualHost
		}
		h, f := readHost(s.HostConfig)
		if f != nil {
			out.faults, places = append(out.faults, f), nil
			break
		}
		most, places = h.timeout, h.plugins
	case s.PluginConfig == "":
		places = []place{{config: UsualPlugin}}
	}
	for _, at := range places {
		p, f := readPlugin(at.config, at.name, most)
		if f != nil {
			out.faults = append(out.faults, f)
			continue
		}
		out.plugins = append(out.plugins, p)
		for _, note := range p.notes {
			out.notes = append(out.notes, p.config+": "+note)
		}
	}
	path, wanted := s.BackupConfig, true
	if path == "" {
		path, wanted = UsualBackup, false
	}
	b, f := readBackup(path, wanted)
	if f != nil {
		out.faults = append(out.faults, f)
	}
	out.backup = b
	return out
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// scripted is what a plan has to know. What keeps a script from being run counts as its failure: continueBackupOnFailure decides.
func (s *settings) scripted() *database.Scripted {
	out := &database.Scripted{
		Plugins: []database.Plugin{}, Unfrozen: s.backup.unfrozen, FreezeLimit: s.backup.limit, Notes: s.notes,
		Freeze: !slices.ContainsFunc(s.plugins, func(p *plugin) bool { return !p.freeze }),
	}
	for _, f := range s.faults {
		out.Refused = append(out.Refused, database.Obstacle{What: f.Error(), Remedy: f.Remedy})
	}
	for _, p := range s.plugins {
		out.Plugins = append(out.Plugins, p.facts())
		f := p.unusable()
		if f == nil {
			continue
		}
		if o := (database.Obstacle{What: f.Error(), Remedy: f.Remedy}); p.goesOn {
			out.Lessened = append(out.Lessened, o)
		} else {
			out.Refused = append(out.Refused, o)
		}
	}
	return out
}
