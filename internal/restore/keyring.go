package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/mount"
)

// A MySQL server reads its keyring file whole when it starts, and writes it whole, truncated first, whenever it makes a key: at its starts too, where redo
// or undo logs are encrypted. Two servers with one file lose each other's keys, and with them the tables. So a copy gets a keyring of its own. A component
// finds its configuration beside the plugins and nowhere else, so the copy also gets a directory of plugins of its own, of links. MariaDB only reads its key files.

// Keyring is that of the original, as far as it is a file; the zero value is none.
type Keyring struct {
	File    string // on the live server
	Keys    string // what holds its keys now: the file in the cut, or else on this machine; "": neither
	InCut   bool   // Keys is in the cut
	Plugins string // the directory of the plugins, where a component's configuration is; "": it is no component
	Name    string // of the configuration's file

	config map[string]any // the configuration
	err    error          // why there is no reading it
}

const keyringDir = "keyring" // in the configuration directory

// filed are the configurations of components that keep keys in a file. Others ask a service, which many may do.
var filed = map[string]bool{"component_keyring_file.cnf": true, "component_keyring_encrypted_file.cnf": true}

func (w *World) lookAtKeyring(r Request) {
	if isMariaDB(r.Point.Server.Product) || r.InPlace {
		return // in place the server reads it where it is: there is only one
	}
	k := &w.Keyring
	for _, l := range r.Point.Paths {
		name := filepath.Base(l.Place.Path) // by which the server looks for it; it may be a symlink
		_, inside := mount.Below(w.Source.Real, l.Place.Real)
		switch {
		case l.Purpose != database.Keyring || name == "mysqld.my":
		case filed[name] && !inside:
			k.Plugins, k.Name = filepath.Dir(l.Place.Path), name
		case filepath.Ext(name) != ".cnf":
			k.File = l.Place.Real
			k.Keys, k.InCut = w.keys(l)
		}
	}
	if l, ok := effective(recorded(r.Point), "plugin_dir"); ok && k.Plugins != "" {
		k.Plugins = l.Value
	}
	if k.Plugins != "" && k.File != "" {
		k.config, k.err = keyringConfig(k.Plugins, w.Source.Path, k.Name)
	}
}

// keys finds the file that holds the keys: the point's own knows all that the point needs.
func (w *World) keys(l catalog.Located) (string, bool) {
	if inside, _ := w.locate(l); inside != "" && filled(inside) {
		return inside, true
	}
	if filled(l.Place.Real) {
		return l.Place.Real, false
	}
	return "", false
}

// filled: a server that was stopped while it wrote leaves its keys in a second file, and finds them there.
func filled(path string) bool {
	for _, name := range []string{path, path + ".backup"} {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			return true
		}
	}
	return false
}

// keyringConfig reads a component's configuration, which may say that it is in the data directory.
func keyringConfig(plugins, data, name string) (config map[string]any, err error) {
	for _, dir := range []string{plugins, data} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		config = map[string]any{}
		if err := json.Unmarshal(content, &config); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		if config["read_local_config"] != true {
			break
		}
	}
	return config, nil
}

// keyring plans what the copy reads its keys from.
func (p *Plan) keyring(w *World) {
	k, dir := w.Keyring, filepath.Join(p.Request.ConfigDir, keyringDir)
	switch {
	case k.File == "":
		return
	case k.err != nil:
		p.warn("the keyring's configuration cannot be read, so the copy may have no keys: %v", k.err)
		return
	case k.Keys == "":
		p.warn("the keyring %s is neither here nor in the point: no encrypted table of the copy can be read", k.File)
	case k.InCut:
		p.because("give the copy a keyring of its own, the point's %s: two servers must not write to one", k.File)
	default:
		p.because("give the copy a keyring of its own, with the keys that are in %s now: two servers must not write to one", k.File)
	}
	if p.Request.Scratch == "" {
		p.warn("the copy's keys are in %s, without which nobody can read its encrypted tables", dir)
	}
	const why = "a keyring of its own: two servers that write to one lose each other's keys"
	if k.config != nil {
		p.Options.Set("plugin_dir", filepath.Join(dir, "plugin"), why)
		return
	}
	for _, name := range []string{"keyring_file_data", "keyring_encrypted_file_data"} {
		if _, ok := effective(p.Options.Lines, name); ok {
			p.Options.Set(name, filepath.Join(dir, "keys"), why)
		}
	}
}

// keyring makes the keyring of the copy, and the plugins' directory that leads to it.
func (j *Job) keyring(args configArgs) error {
	k, src := j.Plan.world.Keyring, j.Plan.world.Source
	if k.File == "" || k.err != nil {
		return nil
	}
	dir := filepath.Join(args.Dir, keyringDir)
	err := errors.Join(os.Mkdir(dir, 0o700), mark(dir, j.Run.ID), chown(dir, src.UID, src.GID))
	if err == nil {
		err = j.copyKeys(k, filepath.Join(dir, "keys"))
	}
	if err == nil && k.config != nil {
		err = j.plugins(k, dir)
	}
	if err != nil {
		return fmt.Errorf("cannot make a keyring for the copy: %w", err)
	}
	return nil
}

// copyKeys copies the keys, and those that the server was writing. Without any it is empty: left to itself the component makes it as root.
func (j *Job) copyKeys(k Keyring, to string) error {
	for _, more := range []string{"", ".backup"} {
		from, err := os.Open(k.Keys + more)
		if errors.Is(err, os.ErrNotExist) && more != "" {
			continue
		}
		var keys io.Reader = strings.NewReader("")
		if err == nil {
			defer func() { _ = from.Close() }()
			keys = from
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := j.secret(to+more, keys); err != nil {
			return err
		}
	}
	return nil
}

// secret writes a file that only the server may read.
func (j *Job) secret(path string, content io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	src := j.Plan.world.Source
	return errors.Join(err, chown(path, src.UID, src.GID), f.Sync(), f.Close())
}

// plugins links what is in the original's directory, but for the configuration, which names the copy's keys.
func (j *Job) plugins(k Keyring, dir string) error {
	to := filepath.Join(dir, "plugin")
	entries, err := os.ReadDir(k.Plugins)
	err = errors.Join(err, os.Mkdir(to, 0o755))
	for _, e := range entries {
		if e.Name() != k.Name && err == nil {
			err = os.Symlink(filepath.Join(k.Plugins, e.Name()), filepath.Join(to, e.Name()))
		}
	}
	if err != nil {
		return err
	}
	config := maps.Clone(k.config)
	delete(config, "read_local_config")
	config["path"] = filepath.Join(dir, "keys")
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return j.secret(filepath.Join(to, k.Name), strings.NewReader(string(text)))
}

// keyError is a server that did not start for want of its keys.
type keyError struct {
	error
	keyring string
}

func (e *keyError) Unwrap() error { return e.error }

// Hint says where keys come from.
func (e *keyError) Hint() string {
	out := "the point is encrypted, and its server needs the keys that the original had at that moment: "
	if e.keyring != "" {
		out += "bring its keyring back to " + e.keyring + ", from where you keep a copy"
	} else {
		out += "bring them to where the original has them (--server, if another program loads them)"
	}
	return out + ", and try again"
}

var aboutKeys = regexp.MustCompile(`(?i)\[ERROR\].*(keyring|encrypt|master key|file.key.management)`)

// forWant adds what helps to the error of a server that did not start, where keys are what it wants.
func (j *Job) forWant(p *Process, err error) error {
	if !aboutKeys.MatchString(p.said()) {
		return err
	}
	return &keyError{err, j.Plan.world.Keyring.File}
}
