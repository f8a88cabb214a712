package config

import (
	"path/filepath"

	"github.com/holdstill/holdstill/internal/database"
)

// KindScripts is the kind of an instance that is no server: pre and post scripts hold it still, as under Azure's VM backup.
const KindScripts = "scripts"

// Scripts says which scripts hold an instance of that kind, and what its points hold.
type Scripts struct {
	PluginConfig     string   `yaml:"plugin_config"`      // a VMSnapshotScriptPluginConfig.json
	HostConfig       string   `yaml:"host_config"`        // or a VMSnapshotPluginHost.conf, which names several
	HostBackupConfig string   `yaml:"host_backup_config"` // a vmbackup.conf
	Paths            []string `yaml:"paths"`              // what a point has to hold
}

// kindFaults are those of the kind, and of keys that belong to another.
func (i *Instance) kindFaults() []fault {
	s := i.Scripts
	given := map[string]string{"plugin_config": s.PluginConfig, "host_config": s.HostConfig, "host_backup_config": s.HostBackupConfig}
	switch i.Kind {
	case "":
		return i.serverFaults(given)
	case KindScripts:
		return i.scriptFaults(given)
	}
	return []fault{{"kind", "the kind of an instance is " + KindScripts + ", or left out for a server"}}
}

func (i *Instance) serverFaults(given map[string]string) []fault {
	var out []fault
	for key, value := range given {
		if value != "" {
			out = append(out, fault{key, "it is for the kind scripts only"})
		}
	}
	if len(i.Scripts.Paths) > 0 {
		out = append(out, fault{"paths", "it is for the kind scripts only: a server tells its paths itself"})
	}
	return out
}

func (i *Instance) scriptFaults(given map[string]string) []fault {
	var out []fault
	for key, path := range given {
		if path != "" && !filepath.IsAbs(path) {
			out = append(out, fault{key, "it must be an absolute path"})
		}
	}
	if given["plugin_config"] != "" && given["host_config"] != "" {
		out = append(out, fault{"host_config", "plugin_config and host_config exclude each other"})
	}
	if len(i.Scripts.Paths) == 0 {
		out = append(out, fault{"paths", "say which paths a point has to hold"})
	}
	for _, path := range i.Scripts.Paths {
		if !filepath.IsAbs(path) {
			out = append(out, fault{"paths", "they must be absolute paths"})
		}
	}
	if i.Mode != database.Auto && i.Mode != database.Hot {
		out = append(out, fault{"mode", "an instance of the kind scripts has the mode hot only"})
	}
	for key, value := range map[string]string{"option_file": i.OptionFile, "socket": i.Socket, "host": i.Host, "user": i.User, "client_option_file": i.ClientOptionFile} {
		if value != "" {
			out = append(out, fault{key, "it is for servers: an instance of the kind scripts has none"})
		}
	}
	return out
}
