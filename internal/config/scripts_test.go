package config

import (
	"strings"
	"testing"
)

func TestScripts(t *testing.T) {
	c, err := load(t, "instances:\n  app:\n    kind: scripts\n    plugin_config: /etc/azure/p.json\n    host_backup_config: /etc/azure/b.conf\n    paths: [/srv/app, /srv/more]\n    max_stall: 10s\n")
	if err != nil {
		t.Fatal(err)
	}
	i := c.Instances["app"]
	if i.Kind != KindScripts || i.Scripts.PluginConfig != "/etc/azure/p.json" || i.Scripts.HostBackupConfig != "/etc/azure/b.conf" || len(i.Scripts.Paths) != 2 {
		t.Errorf("%+v", i)
	}
}

func TestScriptsFaults(t *testing.T) {
	for text, want := range map[string]string{
		"kind: script":                                              "the kind of an instance is scripts",
		"kind: scripts":                                             "say which paths",
		"paths: [/a]":                                               "line 3: instance app: it is for the kind scripts only",
		"host_config: /a":                                           "it is for the kind scripts only",
		"kind: scripts\n    paths: [a]":                             "absolute paths",
		"kind: scripts\n    plugin_config: a":                       "line 4: instance app: it must be an absolute path",
		"kind: scripts\n    mode: cold":                             "the mode hot only",
		"kind: scripts\n    socket: /run/s.sock":                    "it is for servers",
		"kind: scripts\n    option_file: /etc/a":                    "it is for servers",
		"kind: scripts\n    plugin_config: /a\n    host_config: /b": "exclude each other",
	} {
		if _, err := load(t, "instances:\n  app:\n    "+text+"\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
