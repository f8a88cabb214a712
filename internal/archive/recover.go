package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var logFileName = regexp.MustCompile(`^[0-9]{8}-`)

// sweep removes what belongs to no description: bytes of a log that was never described, marks of closed ones, and what was on its way to
// take a name (all hidden files are).
func sweep(dir string, described []string) error {
	found, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range found {
		name := f.Name()
		base := strings.TrimSuffix(strings.TrimSuffix(name, markSuffix), IndexSuffix)
		switch {
		case f.IsDir():
			continue
		case strings.HasPrefix(name, "."):
		case strings.HasSuffix(name, entrySuffix) || !logFileName.MatchString(name) || slices.Contains(described, base+entrySuffix):
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// reopen opens the last log for writing behind its last whole event. Bytes without checksums count only as far as they were synced: of
// others a power cut could have left anything. Bytes that are damaged before that are left alone, for who can mend them: the log ends there.
func (s *spool) reopen() (err error) {
	e := s.last
	path := (&Archive{s.dir}).Path(e.Log)
	broken := func(err error) error {
		if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) {
			s.log.Error("the archived log is damaged: it is archived anew", "file", path, "error", err.Error())
			s.release()
			e.Closed, e.Broken = true, "the archived bytes of "+e.Name+" are damaged"
			err = e.put(s.dir)
		}
		if err != nil {
			return fmt.Errorf("cannot go on with the archived log %s: %w", path, err)
		}
		return nil
	}
	if s.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return broken(err)
	}
	if s.mark, err = os.OpenFile(markName(s.dir, e), os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return broken(err)
	}
	format, err := known(s.file, e.Log)
	if err != nil {
		return broken(err)
	}
	if s.scan, err = e.resume(format); err != nil {
		return broken(err)
	}
	info, err := s.file.Stat()
	if err != nil {
		return broken(err)
	}
	if info.Size() < e.Size {
		return broken(fmt.Errorf("%w: it has %d bytes, and should have %d at least", errDamaged, info.Size(), e.Size))
	}
	limit := int64(math.MaxInt64)
	if !s.scan.checksums {
		if limit, _ = readMark(s.dir, e); limit < e.Size {
			limit = e.Size
		}
	}
	if err := s.scan.read(s.file, min(limit, info.Size())); err != nil && !errors.Is(err, errDamaged) {
		return broken(err)
	}
	if err := errors.Join(s.file.Truncate(s.scan.at), s.file.Sync(), writeMark(s.mark, s.scan.at)); err != nil {
		return broken(err)
	}
	s.synced = s.scan.at
	return nil
}
