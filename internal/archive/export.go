package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Export writes a log into a directory, under the server's name of it, and gives the path. Each event is verified on its way; of a log
// that is damaged nothing is left there.
func (a *Archive) Export(l Log, dir string) (string, error) { return Export(a.Path(l), l, dir) }

// Export does so with a log whose bytes are in a file anywhere.
func Export(path string, l Log, dir string) (string, error) {
	to := filepath.Join(dir, l.Name)
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot export %s: %w", l.Name, errors.Join(err, fmt.Errorf("there is a file %s already", to)))
	}
	out, err := renameio.NewPendingFile(to, renameio.WithPermissions(0o600))
	if err != nil {
		return "", fmt.Errorf("cannot export %s: %w", l.Name, err)
	}
	defer out.Cleanup()
	if err := verify(path, l, func(raw []byte) error { _, err := out.Write(raw); return err }); err != nil {
		return "", fmt.Errorf("cannot export %s: %w", l.Name, err)
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return "", fmt.Errorf("cannot export %s: %w", l.Name, err)
	}
	return to, nil
}

// Verify reads a whole log, and tells where it is damaged.
func (a *Archive) Verify(l Log) error { return verify(a.Path(l), l, func([]byte) error { return nil }) }

func verify(path string, l Log, sink func([]byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	format, err := known(f, l)
	if err != nil {
		return fmt.Errorf("%s at %d: %w", path, start, err)
	}
	s := &scanner{at: start, sink: sink, history: history{done: &gtids{}}}
	if s.checksums, err = checksummed(format); err != nil {
		return fmt.Errorf("%s at %d: %w", path, start, err)
	}
	if err := sink(magic); err != nil {
		return err
	}
	if err := s.read(f, l.Size); err != nil {
		return fmt.Errorf("%s at %d: %w", path, s.at, err)
	}
	if s.at != l.Size {
		return fmt.Errorf("%s at %d: %w: there should be events up to %d", path, s.at, errDamaged, l.Size)
	}
	return nil
}

// IsDamaged tells whether an error is about bytes that are not those that were archived.
func IsDamaged(err error) bool { return errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) }
