package archive

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/durable"
)

// identityFile holds what tells this archive from every other one. One that is made anew in the place of one that was lost gets another, so that
// what is kept of the old one elsewhere is never taken for the new one's.
const identityFile = "id"

var identity = regexp.MustCompile(`^[A-Z2-7]{20,40}$`)

// ID is the archive's identity; "" if no archiver has written to it since there are identities.
func (a *Archive) ID() (string, error) {
	raw, err := os.ReadFile(filepath.Join(a.dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the identity of the binary log archive: %w", err)
	}
	id := strings.TrimSpace(string(raw))
	if !identity.MatchString(id) {
		return "", fmt.Errorf("the file %s is damaged: remove it, and the archive gets a new identity", filepath.Join(a.dir, identityFile))
	}
	return id, nil
}

// Renew gives the archive another identity: what is kept elsewhere under the old one is not what is here.
func (a *Archive) Renew() error {
	err := renameio.WriteFile(filepath.Join(a.dir, identityFile), []byte(rand.Text()+"\n"), 0o600)
	if err == nil {
		err = durable.SyncDir(a.dir)
	}
	if err != nil {
		return fmt.Errorf("cannot give the binary log archive an identity: %w", err)
	}
	return nil
}

// identify gives an archive an identity that has none.
func identify(dir string) error {
	a := &Archive{dir}
	if id, err := a.ID(); err != nil || id != "" {
		return err
	}
	return a.Renew()
}
