package scripts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"gopkg.in/ini.v1"
)

// Where Azure's own host looks for its files.
const (
	UsualPlugin = "/etc/azure/VMSnapshotScriptPluginConfig.json"
	UsualHost   = "/etc/azure/VMSnapshotPluginHost.conf"
	UsualBackup = "/etc/azure/vmbackup.conf"
)

const mostPlugins = 100

// asPython reads INI files as Python's ConfigParser does, which they are written for.
var asPython = ini.LoadOptions{InsensitiveKeys: true, IgnoreInlineComment: true, PreserveSurroundedQuote: true, SkipUnrecognizableLines: false}

// host is a VMSnapshotPluginHost.conf.
type host struct {
	timeout time.Duration
	plugins []place
}

type place struct{ name, config string }

func readHost(path string) (*host, *Failure) {
	if f := checkFile(path, hostFile); f != nil {
		return nil, f
	}
	file, err := ini.LoadSources(asPython, path)
	if err != nil {
		return nil, failure(codeHostParse, "correct the file", "cannot understand %s: %v", path, err)
	}
	h := &host{timeout: mostTimeout}
	if err := h.parse(file.Section("pre_post")); err != nil {
		return nil, failure(codeHostParse, "correct the section [pre_post]", "cannot understand %s: %v", path, err)
	}
	return h, nil
}

func (h *host) parse(s *ini.Section) error {
	var all []error
	if key, err := s.GetKey("timeoutInSeconds"); err == nil {
		n, err := key.Int()
		if err != nil || n <= 0 {
			all = append(all, fmt.Errorf("timeoutInSeconds must be a whole number of seconds, not %q", key.String()))
		}
		h.timeout = min(time.Duration(n)*time.Second, mostTimeout)
	}
	count, err := s.Key("numberOfPlugins").Int()
	if err != nil || count < 1 || count > mostPlugins {
		return joined(append(all, fmt.Errorf("numberOfPlugins must be a number from 1 to %d", mostPlugins)))
	}
	for i := range count {
		name, config := s.Key(fmt.Sprintf("pluginName%d", i)).String(), s.Key(fmt.Sprintf("pluginConfigPath%d", i)).String()
		if name == "" || !strings.HasPrefix(config, "/") {
			all = append(all, fmt.Errorf("pluginName%d and pluginConfigPath%d are needed, the second an absolute path", i, i))
		}
		if count > 1 { // the name is that of a Python module, mostly the same for all
			name = fmt.Sprintf("%s %d", name, i)
		}
		h.plugins = append(h.plugins, place{name, config})
	}
	return joined(all)
}

// backup is a vmbackup.conf.
type backup struct {
	unfrozen []string      // mount points that are not frozen
	limit    time.Duration // of the freeze; 0: none
}

// readBackup reads the file if it is there; wanted says that it has to be.
func readBackup(path string, wanted bool) (backup, *Failure) {
	var b backup
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && !wanted {
		return b, nil
	}
	if f := checkFile(path, backupFile); f != nil {
		return b, f
	}
	file, err := ini.LoadSources(asPython, path)
	if err != nil {
		return b, failure(codeHostParse, "correct the file", "cannot understand %s: %v", path, err)
	}
	section := file.Section("SnapshotThread")
	for _, mount := range strings.Split(section.Key("MountsToSkip").String(), ",") {
		if mount = strings.TrimSpace(mount); mount != "" {
			b.unfrozen = append(b.unfrozen, mount)
		}
	}
	if key, err := section.GetKey("timeout"); err == nil {
		n, err := key.Int()
		if err != nil || n <= 0 {
			return b, failure(codeHostParse, "correct the section [SnapshotThread]", "cannot understand %s: timeout must be a whole number of seconds, not %q", path, key.String())
		}
		b.limit = time.Duration(n) * time.Second
	}
	return b, nil
}
