package family

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

// below makes a path absolute: the server runs in its data directory, and relative ones are meant from there.
func (r *reader) below(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return cleanPath(path)
	}
	return filepath.Join(r.vars["datadir"], path)
}

func cleanPath(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Clean(path)
}

func (r *reader) add(purpose database.Purpose, path string) {
	p := database.Path{Purpose: purpose, Path: r.below(path)}
	if path != "" && !slices.Contains(r.out.Paths, p) {
		r.out.Paths = append(r.out.Paths, p)
	}
}

// paths lists every place that the variables name.
func (r *reader) paths() {
	v := r.vars
	r.add(database.DataDir, v["datadir"])
	for _, file := range systemFiles(v["innodb_data_home_dir"], v["innodb_data_file_path"]) {
		r.add(database.SystemSpace, file)
	}
	r.add(database.UndoLog, orDataDir(v["innodb_undo_directory"]))
	for _, p := range r.dialect.Paths(r.Version, v) {
		r.add(p.Purpose, p.Path)
	}
	if r.out.LogBin {
		r.add(database.BinaryLog, filepath.Dir(r.out.BinlogBase))
		r.add(database.BinaryLog, v["log_bin_index"])
	}
	if len(r.out.Channels) > 0 {
		r.add(database.RelayLog, filepath.Dir(r.out.RelayBase))
		r.add(database.RelayLog, v["relay_log_index"])
	}
	r.try("the tablespaces", r.tablespaces)
}

func orDataDir(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// systemFiles reads innodb_data_file_path: "ibdata1:12M;/disk2/ibdata2:50M:autoextend".
func systemFiles(home, spec string) []string {
	var out []string
	for part := range strings.SplitSeq(spec, ";") {
		name, _, _ := strings.Cut(strings.TrimSpace(part), ":")
		if name == "" {
			continue
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(home, name)
		}
		out = append(out, name)
	}
	return out
}

// tablespaces adds the files that InnoDB knows outside the data directory.
func (r *reader) tablespaces() error {
	if r.say.Tablespaces == "" {
		return nil
	}
	rows, err := query(r.ctx, r.q, r.say.Tablespaces)
	for _, row := range rows {
		if path := r.below(row.first("path")); !within(r.below(r.vars["datadir"]), path) && !r.listed(path) {
			r.add(database.Tablespace, path)
		}
	}
	return err
}

func (r *reader) listed(path string) bool {
	return slices.ContainsFunc(r.out.Paths, func(p database.Path) bool { return p.Purpose != database.DataDir && p.Path == path })
}

// within reports whether a path lies below a directory, as far as names tell.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
