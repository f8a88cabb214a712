package azure

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/inifile"
)

// The file of Azure's "enhanced" framework, and the section that speaks of the application.
const (
	workloadPath    = "/etc/azure/workload.conf"
	workloadSection = "workload"
)

// ignored are the keys that Holdstill has better answers for: how it logs in is in its own configuration, and it keeps no files there.
var ignored = []string{"command_path", "credString", "linux_user", "ipc_folder", "dbnames", "timeout"}

// Wishes reads workload.conf, the file of the "enhanced" framework. Its role is what somebody wrote there once, so it is compared with
// the server's own, never believed.
func (personality) Wishes(read func(string) ([]byte, error)) (hook.Wishes, bool, error) {
	w := hook.Wishes{Path: workloadPath}
	content, err := read(workloadPath)
	if errors.Is(err, fs.ErrNotExist) {
		return w, false, nil
	}
	if err != nil {
		return w, false, fmt.Errorf("cannot read what is wished for: %w", err)
	}
	get := func(key string) string {
		value, _ := inifile.Get(content, workloadSection, key)
		return strings.ToLower(strings.Trim(value, `"' `))
	}
	w.Product = get("workload_name")
	switch role := get("role"); role {
	case "", "auto":
	case "master", "source", "primary":
		w.Role = "source"
	case "slave", "replica", "secondary":
		w.Role = "replica"
	default:
		return w, false, fmt.Errorf("cannot use %s: the role %q is neither master nor slave", workloadPath, role)
	}
	switch only := get("enforceSlaveOnly"); only {
	case "", "false", "0", "no":
	case "true", "1", "yes":
		w.OnlyReplica = true
	default:
		return w, false, fmt.Errorf("cannot use %s: enforceSlaveOnly is %q, neither true nor false", workloadPath, only)
	}
	for _, key := range ignored {
		if _, ok := inifile.Get(content, workloadSection, key); ok {
			w.Ignored = append(w.Ignored, key)
		}
	}
	return w, true, nil
}
