package load

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
)

// guess reads a directory, or one file, that Holdstill did not write: what tables the files make. For that the whole texts are read once,
// which also tells that they are whole.
func guess(dir string) (*directory, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, &Refusal{fmt.Sprintf("%v: %v", errNoDump, err), "give the directory of a dump, or a file .sql, .sql.gz or .sql.zst"}
	}
	paths := []string{dir}
	if info.IsDir() {
		if paths, err = filepath.Glob(filepath.Join(strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir), "*.sql*")); err != nil {
			return nil, err
		}
	}
	d := &directory{identity: dir, parts: map[partKey]file{}}
	for _, path := range paths {
		if _, ok := sqlFile(filepath.Base(path)); !ok {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		// a file that was written anew is another one: what was loaded from it is not gone on with
		d.identity += fmt.Sprintf("\x00%s %d %d", path, info.Size(), info.ModTime().UnixNano())
		if err := d.survey(path); err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", path, err)
		}
	}
	if len(d.tables) == 0 {
		return nil, &Refusal{fmt.Sprintf("%v in %s: no file .sql, .sql.gz or .sql.zst in it makes a table", errNoDump, dir), "give the directory of a dump"}
	}
	return d, nil
}

// survey notes the tables that a text makes, and keeps its code. Their database is the one that the text uses, or the one that the file's name
// tells, or none: then any --database or --table is meant.
func (d *directory) survey(path string) error {
	in, progress, err := dumpfile.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	named, _, _ := dumpfile.ParseFileName(filepath.Base(path))
	current, state := named.Database, &settings{}
	tail, head := &dumpfile.Tail{}, &head{}
	statements := dumpfile.NewStatements(io.TeeReader(in, io.MultiWriter(tail, head)))
	for {
		s, err := statements.Next()
		if errors.Is(err, io.EOF) {
			if !tail.Complete() {
				d.warnings = append(d.warnings, path+" lacks the dump tool's last line: it may have been cut off at the end of a statement")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if d.product == "" {
			d.product = head.product()
		}
		what, name, err := meaning(s)
		if err != nil {
			return err
		}
		switch what {
		case switching:
			current = name
			d.mentions(name, string(s.Text))
		case setting:
			state.read(string(s.Text))
		case code:
			d.keep(path, current, string(s.Text), state)
		case create:
			t := &table{from: schema.Name{Database: current, Table: name}, file: file{path: path}, bytes: progress.Total, rows: -1, kind: schema.Base, create: string(s.Text)}
			if d.table(t.from) != nil {
				return fmt.Errorf("a second file makes the table %s", t.from)
			}
			if d.product == "" && strings.Contains(t.create, "utf8mb4_uca1400") { // of a dump without comments
				d.product = database.MariaDB
			}
			if createSeq.MatchString(t.create) {
				t.kind = schema.Sequence
			}
			d.tables = append(d.tables, t)
		}
	}
}

// head is the beginning of a text, where the dump tools say which server they dumped.
type head struct{ text []byte }

// Write never fails.
func (h *head) Write(b []byte) (int, error) {
	const enough = 4096
	h.text = append(h.text, b[:min(len(b), enough-len(h.text))]...)
	return len(b), nil
}

var serverVersion = regexp.MustCompile(`(?m)^-- Server version\s+(\S+)`)

// product is "" where nothing tells it.
func (h *head) product() string {
	switch found := serverVersion.FindSubmatch(h.text); {
	case found == nil:
		return ""
	case strings.Contains(strings.ToLower(string(found[1])), database.MariaDB):
		return database.MariaDB
	}
	return database.MySQL
}

var (
	defaultCharset   = regexp.MustCompile(`(?i)CHARACTER\s+SET\s*=?\s*(\w+)`)
	defaultCollation = regexp.MustCompile(`(?i)COLLATE\s*=?\s*(\w+)`)
)

// mentions notes how a database has to be made, where the text makes it.
func (d *directory) mentions(name, statement string) {
	made := dumpfile.Database{Name: name}
	if f := defaultCharset.FindStringSubmatch(statement); f != nil {
		made.Charset = f[1]
	}
	if f := defaultCollation.FindStringSubmatch(statement); f != nil {
		made.Collation = f[1]
	}
	if made.Charset != "" {
		d.databases = append(d.databases, made)
	}
}

// partOf tells in which file a dump of Holdstill would have a piece of code.
var partOf = map[string]dumpfile.Part{"TRIGGER": dumpfile.Triggers, "VIEW": dumpfile.Views, "EVENT": dumpfile.Events}

// keep puts a view, a routine, a trigger or an event where a dump of Holdstill has it: with its like of the same database. Old tools let a table
// stand in for a view that comes later.
func (d *directory) keep(path, of, statement string, s *settings) {
	part := dumpfile.Routines
	if found := createCode.FindStringSubmatch(strings.TrimSpace(unconditional(statement))); found != nil {
		if p, ok := partOf[strings.ToUpper(found[2])]; ok {
			part = p
		}
		if part == dumpfile.Views {
			d.tables = slices.DeleteFunc(d.tables, func(t *table) bool { return t.from == schema.Name{Database: of, Table: unquote(found[3])} })
		}
	}
	key := partKey{part, of}
	f, ok := d.parts[key]
	if !ok {
		f = file{path: path, found: &strings.Builder{}}
		d.parts[key] = f
	}
	fmt.Fprintf(f.found, "SET sql_mode = '%s', collation_connection = %s;\n", s.mode, cmp.Or(s.collation, "utf8mb4_general_ci"))
	if s.zone != "" {
		fmt.Fprintf(f.found, "SET time_zone = '%s';\n", s.zone)
	}
	fmt.Fprintf(f.found, "DELIMITER ;;\n%s ;;\nDELIMITER ;\n", statement)
}
