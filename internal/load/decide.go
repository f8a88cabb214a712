package load

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// plan is what will be loaded: decided before anything is touched.
type plan struct {
	identity  string // of the dump: a load goes on with what an earlier one of the same began
	point     string
	database  string // of the dump
	tables    []*table
	bytes     int64
	make      *dumpfile.Database // the database to make; nil: it is there
	code      []swap.Code
	translate *translation
	warnings  []string
}

// file is where a text lies; its SHA-256 is "" where no manifest tells it.
type file struct {
	path, sha256 string
	found        *strings.Builder // what was found in the file among other things; nil: the file is nothing else
}

func (f file) open() (io.ReadCloser, *dumpfile.Progress, error) {
	if f.found != nil {
		return io.NopCloser(strings.NewReader(f.found.String())), &dumpfile.Progress{}, nil
	}
	return dumpfile.OpenWhole(f.path, f.sha256)
}

// table is one to load.
type table struct {
	from schema.Name
	swap.Newcomer
	file
	bytes    int64
	kind     schema.Kind
	text     int64 // bytes of SQL; 0: nobody tells
	rows     int64 // that the manifest tells; -1: it does not
	sum      *schema.Sum
	past     bool
	create   string    // the statement that makes it
	defaults []Default // that sequences give
	inPlace  bool      // a sequence that the live server lacks: it needs no swap
	done     record
}

// renamed is what a table or sequence of the dump is called in the server.
func (p *plan) renamed(n schema.Name) schema.Name {
	for _, t := range p.tables {
		if t.from == n {
			return t.Target
		}
	}
	return n
}

// decide reads the dump, and refuses what cannot be.
func decide(r Request, site *swap.Site, localOnly bool) (*plan, error) {
	d, err := look(r.Dir)
	if err != nil {
		return nil, err
	}
	p := &plan{identity: d.identity, point: d.point, warnings: d.warnings}
	d.adopt(r)
	if p.translate, err = translationFor(d.product, site.Server); err != nil {
		return nil, err
	}
	if err := p.choose(r, d); err != nil {
		return nil, err
	}
	if err := p.targets(r, d, site); err != nil {
		return nil, err
	}
	if err := p.readTriggers(d); err != nil {
		return nil, err
	}
	if r.Database != "" {
		if err := p.readCode(r, d); err != nil {
			return nil, err
		}
	}
	if err := p.readHeads(); err != nil {
		return nil, err
	}
	if err := p.judge(site, localOnly); err != nil {
		return nil, err
	}
	for _, t := range p.tables {
		if p.bytes += t.bytes; t.kind == schema.Sequence && p.translate != nil {
			return nil, &Refusal{fmt.Sprintf("%s is a sequence, which MySQL does not have", t.from), "name the tables to load without it"}
		}
	}
	slices.SortStableFunc(p.tables, func(a, b *table) int { return cmp.Compare(b.bytes, a.bytes) })
	return p, nil
}

// choose finds the files of what is wanted.
func (p *plan) choose(r Request, d *directory) error {
	p.database = r.Database
	for _, n := range r.Tables {
		if p.database == "" {
			p.database = n.Database
		}
		if n.Database != p.database {
			return &Refusal{"the tables are of several databases", "load those of one database at a time"}
		}
		t := d.table(n)
		if t == nil {
			return &schema.AbsentError{Names: []schema.Name{n}, Where: []string{" in the dump " + r.Dir}}
		}
		p.tables = append(p.tables, t)
	}
	if r.Database == "" {
		return nil
	}
	for _, t := range d.tables {
		if t.from.Database == r.Database {
			p.tables = append(p.tables, t)
		}
	}
	if len(p.tables) == 0 {
		return &schema.AbsentError{Names: []schema.Name{{Database: r.Database}}, Where: []string{" in the dump " + r.Dir}}
	}
	return nil
}

// targets decides where the tables go. Another name must be free.
func (p *plan) targets(r Request, d *directory, site *swap.Site) error {
	to := p.database
	switch {
	case r.As.Table != "" && len(p.tables) != 1:
		return &Refusal{"--as DB.TABLE is for one table", "load one table at a time, or the database with --as DB"}
	case r.As.Database != "":
		to = r.As.Database
	}
	if schema.Own(to) {
		return &Refusal{fmt.Sprintf("the database %s is of the server's own", to), ""}
	}
	there := site.Database(to)
	if r.Database != "" && r.As.Database != "" && there != nil {
		return &Refusal{fmt.Sprintf("there is a database %s already", to), "choose a name that is free"}
	}
	if there == nil {
		if r.Database == "" {
			return &Refusal{fmt.Sprintf("the server has no database %s", to), "make it first, or load the whole database with --database"}
		}
		p.make = d.database(p.database)
		p.make.Name = to
		p.translate.database(p.make)
	}
	for _, t := range p.tables {
		t.Target = schema.Name{Database: to, Table: t.from.Table}
		if r.As.Table != "" {
			t.Target.Table = r.As.Table
		}
		old := site.Table(t.Target)
		t.inPlace = t.kind == schema.Sequence && old == nil
		switch {
		case old == nil:
		case r.As.Table != "":
			return &Refusal{fmt.Sprintf("there is a %s %s already", old.Kind, t.Target), "choose a name that is free"}
		case old.Kind == schema.View || (old.Kind == schema.Sequence) != (t.kind == schema.Sequence):
			return &Refusal{fmt.Sprintf("%s is a %s", t.Target, old.Kind), "drop it, or load the table under another name with --as"}
		}
	}
	return nil
}

// readCode reads the views, routines and events of the database. Those of another product are not carried over.
func (p *plan) readCode(r Request, d *directory) error {
	to := p.database
	if r.As.Database != "" {
		to = r.As.Database
	}
	for _, part := range codeParts {
		f := d.parts[partKey{part, p.database}]
		if f.path == "" {
			continue
		}
		if p.translate != nil {
			p.warnings = append(p.warnings, fmt.Sprintf("the %s of %s were not loaded: the products' dialects differ (%s has them)", part, p.database, f.path))
			continue
		}
		code, err := readCodeFile(f, to)
		if err != nil {
			return err
		}
		p.code = append(p.code, code...)
	}
	if r.As.Database != "" {
		var asleep []string
		p.code, asleep = swap.Asleep(p.code, p.database)
		p.warnings = append(p.warnings, asleep...)
	}
	return nil
}

// readTriggers gives the tables their triggers, where these have a file of their own.
func (p *plan) readTriggers(d *directory) (err error) {
	f := d.parts[partKey{dumpfile.Triggers, p.database}]
	if f.path == "" {
		return nil
	}
	in, _, err := f.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	all, err := triggersIn(in)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", f.path, err)
	}
	for _, t := range p.tables {
		if t.Triggers = all[t.from.Table]; len(t.Triggers) > 0 && p.translate != nil {
			t.Triggers = nil
			p.warnings = append(p.warnings, fmt.Sprintf("the triggers of %s were not loaded: the products' dialects differ (%s has them)", t.from, f.path))
		}
	}
	return nil
}

func readCodeFile(f file, to string) (code []swap.Code, err error) {
	in, _, err := f.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if code, err = codeIn(in, to); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", f.path, err)
	}
	return code, nil
}

type partKey struct {
	part     dumpfile.Part
	database string
}

// directory is what a directory with dumps holds.
type directory struct {
	identity, point, product string
	tables                   []*table
	databases                []dumpfile.Database
	parts                    map[partKey]file
	warnings                 []string
}

// look reads a dump of Holdstill by its manifest; any other by the names of its files.
func look(dir string) (*directory, error) {
	m, err := dumpfile.ReadManifest(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return guess(dir)
	}
	if errors.Is(err, dumpfile.ErrUnfinished) {
		return nil, &Refusal{err.Error(), "finish it with the same holdstill dump command"}
	}
	if err != nil {
		return nil, err
	}
	d := &directory{identity: m.Point + m.Instance + m.Moment.String(), point: m.Point, product: m.Product, databases: m.Databases, parts: map[partKey]file{}}
	for _, f := range m.Files {
		path := filepath.Join(dir, f.Name)
		if info, err := os.Stat(path); err != nil || info.Size() != f.Bytes {
			return nil, &Refusal{fmt.Sprintf("the dump is not whole: %s is missing or not of %d bytes", path, f.Bytes), "take it from where it was copied from"}
		}
		if f.Part != dumpfile.Rows {
			d.parts[partKey{f.Part, f.Database}] = file{path: path, sha256: f.SHA256}
			continue
		}
		d.tables = append(d.tables, &table{from: f.FullName(), file: file{path: path, sha256: f.SHA256}, bytes: f.Bytes, text: f.Text, kind: f.Kind, rows: f.InFile, sum: f.Sum, past: f.Past})
	}
	return d, nil
}

// adopt gives tables whose text names no database the one that is asked for.
func (d *directory) adopt(r Request) {
	wanted := r.Database
	if len(r.Tables) > 0 {
		wanted = r.Tables[0].Database
	}
	for _, t := range d.tables {
		if t.from.Database == "" {
			t.from.Database = wanted
		}
	}
	for key, f := range d.parts {
		if key.database == "" {
			d.parts[partKey{key.part, wanted}] = f
		}
	}
}

func (d *directory) table(n schema.Name) *table {
	for _, t := range d.tables {
		if t.from == n {
			return t
		}
	}
	return nil
}

func (d *directory) database(name string) *dumpfile.Database {
	for _, one := range d.databases {
		if one.Name == name {
			return &one
		}
	}
	return &dumpfile.Database{Name: name, Charset: "utf8mb4"}
}

// DefaultThreads is how many tables are loaded at once: one a processor, at least 2, at most 8.
func DefaultThreads() int { return min(8, max(2, runtime.NumCPU())) }

// sqlFile tells the name of a file with SQL, and what is before its endings.
func sqlFile(name string) (string, bool) {
	for _, ext := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, ext)
	}
	return strings.CutSuffix(name, ".sql")
}
