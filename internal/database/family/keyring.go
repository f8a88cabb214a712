package family

import (
	"os"
	"path/filepath"

	"github.com/holdstill/holdstill/internal/database"
)

// keyring adds the files of a keyring component: its data, its configuration, and the manifests that load it. Without all of
// them a copy of encrypted tables is worth nothing. Keyring plugins have variables, which the makes know.
func (r *reader) keyring() error {
	if r.say.Keyring == "" {
		return nil
	}
	rows, err := query(r.ctx, r.q, r.say.Keyring)
	if err != nil || len(rows) == 0 {
		return err
	}
	if file := pairs(rows).first("Data_file"); file != "" && file != "<NOT APPLICABLE>" {
		r.add(database.Keyring, file)
	}
	data, plugins := r.below(r.vars["datadir"]), r.below(r.vars["plugin_dir"])
	for _, dir := range []string{data, plugins} {
		found, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "component_keyring_*.cnf"))
		for _, path := range found {
			r.add(database.Keyring, path)
		}
	}
	for _, manifest := range []string{filepath.Join(data, "mysqld.my"), filepath.Join(filepath.Dir(r.out.Process.Executable), "mysqld.my")} {
		if _, err := os.Stat(manifest); err == nil {
			r.add(database.Keyring, manifest)
		}
	}
	return nil
}
