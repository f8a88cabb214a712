package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// KeyringConfig is where a build with a keyring has the keyring's configuration.
func (b Build) KeyringConfig() string { return filepath.Join(b.Plugins, "component_keyring_file.cnf") }

// WithKeyring is the build (MySQL 8.0.24 or newer) with the component component_keyring_file, which keeps its keys in the file. MySQL finds what loads a component beside
// its program, so the program gets a directory of its own, dir, which must be absent and lie in a lab; the plugins are links to the build's.
func (b Build) WithKeyring(dir, file string) (Build, error) {
	like := b
	b.like, b.Server, b.Plugins = &like, filepath.Join(dir, "mysqld"), filepath.Join(dir, "plugin")
	err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(b.Plugins, 0o755), linkOrCopy(like.Server, b.Server))
	if err == nil {
		err = linkAll(like.ownPlugins(), b.Plugins)
	}
	config, _ := json.Marshal(map[string]any{"path": file, "read_only": false})
	if err == nil {
		err = errors.Join(os.WriteFile(b.KeyringConfig(), config, 0o644),
			os.WriteFile(filepath.Join(dir, "mysqld.my"), []byte(`{"components": "file://component_keyring_file"}`), 0o444))
	}
	if err != nil {
		return Build{}, fmt.Errorf("cannot give %s a keyring: %w", b.Name, err)
	}
	return b, nil
}

// MakeKeyring makes an empty keyring that the servers can write to: left to itself the component makes it as root.
func MakeKeyring(file string) error {
	uid, gid, err := mysqlUser()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(file, nil, 0o600), os.Chown(file, uid, gid), os.Chown(filepath.Dir(file), uid, gid))
}

// linkOrCopy: a symlink would do for everything but the server, which looks beside what it leads to.
func linkOrCopy(from, to string) error {
	err := os.Link(from, to)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o755)
}

func linkAll(from, to string) error {
	entries, err := os.ReadDir(from)
	for _, e := range entries {
		err = errors.Join(err, os.Symlink(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
	}
	return err
}
