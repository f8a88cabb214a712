package catalog

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/optionfile"
)

var (
	logNumber = regexp.MustCompile(`\.(\d{6,}|index|state|~rec~)$`)
	redoNames = regexp.MustCompile(`^(ib_logfile\d+|#innodb_redo)$`)
	undoNames = regexp.MustCompile(`^(undo_?\d+|.*\.ibu)$`)
	dblwr     = regexp.MustCompile(`\.dblwr$`)
	ariaNames = regexp.MustCompile(`^aria_log(_control|\.\d+)$`)
	sysNames  = regexp.MustCompile(`^ibdata\d*$`)
)

// Owns tells whether a file in a directory of the given purpose is this server's.
func (p *Point) Owns(purpose database.Purpose, name string) bool {
	switch purpose {
	case database.RedoLog:
		return redoNames.MatchString(name)
	case database.UndoLog:
		return undoNames.MatchString(name)
	case database.Doublewrite:
		return dblwr.MatchString(name)
	case database.AriaLog:
		return ariaNames.MatchString(name)
	case database.SystemSpace:
		return sysNames.MatchString(name) || slices.Contains(p.SystemFiles(), name)
	case database.BinaryLog:
		base := p.BinlogBase()
		return logNumber.MatchString(name) && (base == "" || stem(name) == base)
	case database.RelayLog:
		base := p.RelayBase()
		return logNumber.MatchString(name) && (base == "" || stem(name) == base || strings.HasPrefix(name, base+"-"))
	}
	return false
}

// stem is a log's name without its number.
func stem(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }

// BinlogBase is the base name of the binary logs, without directory; "" if there are none.
func (p *Point) BinlogBase() string {
	if p.Position.File == "" {
		return ""
	}
	return stem(filepath.Base(p.Position.File))
}

// RelayBase is the base name of the relay logs: a named channel adds its name to it.
func (p *Point) RelayBase() string {
	for _, c := range p.Sources {
		if c.RelayFile == "" {
			continue
		}
		base := stem(filepath.Base(c.RelayFile))
		if c.Name != "" {
			base = strings.TrimSuffix(base, "-"+strings.ToLower(c.Name))
		}
		return base
	}
	return ""
}

// SystemFiles are the names of the files of InnoDB's system tablespace where they are configured.
func (p *Point) SystemFiles() []string {
	value := ""
	for _, o := range optionfile.Merge(p.Process.OptionFiles, p.Process.Arguments) {
		if strings.ReplaceAll(o.Name, "-", "_") == "innodb_data_file_path" {
			value = o.Value
		}
	}
	var out []string
	for part := range strings.SplitSeq(value, ";") {
		name, _, _ := strings.Cut(part, ":")
		out = append(out, filepath.Base(strings.TrimSpace(name)))
	}
	return out
}
