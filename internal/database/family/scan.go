package family

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

// systemDirs are the schemas of the server itself, as directories.
var systemDirs = []string{"mysql", "performance_schema", "sys", "information_schema", "#innodb_redo", "#innodb_temp"}

// evidence maps the endings of table files to engines: they are there even for tables that the account may not see.
var evidence = map[string]string{".MYD": "MyISAM", ".MAD": "Aria", ".CSV": "CSV", ".ARZ": "ARCHIVE"}

// scan looks below the data directory for what the server does not tell: symlinked schemas and table files, links to
// tablespaces elsewhere, and files of engines without transactions.
func (r *reader) scan() error {
	dir := r.below(r.vars["datadir"])
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s here: the server runs on another host or in a container", dir)
	}
	if err != nil {
		return err
	}
	found := map[string]int{}
	var all []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		link := e.Type()&fs.ModeSymlink != 0
		if link && isDir(path) {
			r.add(database.SchemaDir, path)
		}
		if !slices.Contains(systemDirs, e.Name()) && (e.IsDir() || link && isDir(path)) {
			all = append(all, r.scanSchema(path, found))
		}
	}
	r.addEvidence(found)
	return errors.Join(all...)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (r *reader) scanSchema(dir string, found map[string]int) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // dropped just now
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if engine := evidence[filepath.Ext(e.Name())]; engine != "" {
			found[engine]++
		}
		switch {
		case filepath.Ext(e.Name()) == ".isl":
			err = errors.Join(err, r.addLinked(path))
		case e.Type()&fs.ModeSymlink != 0:
			r.add(database.TableFile, path)
		}
	}
	return err
}

// addLinked reads an .isl file: InnoDB's own kind of symlink, a text file with the path of the tablespace.
func (r *reader) addLinked(isl string) error {
	target, err := os.ReadFile(isl)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		r.add(database.Tablespace, strings.TrimRight(string(target), "\r\n"))
	}
	return err
}

// addEvidence adds engines of which files exist although the account sees none of their tables.
func (r *reader) addEvidence(found map[string]int) {
	for _, engine := range slices.Sorted(maps.Keys(found)) {
		if !r.out.Has(engine) {
			r.out.Engines = append(r.out.Engines, database.Engine{Name: engine, Tables: found[engine]})
		}
	}
}
