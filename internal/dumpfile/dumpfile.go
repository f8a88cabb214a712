// Package dumpfile is the form in which dumps lie in a directory: the names of the files, their compression, the manifest, and how SQL
// text is taken apart into statements. Those who write dumps and those who load them meet here.
//
// # A directory
//
//	mysqldump-DB-TABLE-YYYYMMDD-HHMM.sql.gz   one table: what the server's own dump tool wrote, below a header
//	schema-DB-YYYYMMDD-HHMM.sql.gz            all definitions of a database, no rows; views-DB, routines-DB, triggers-DB, events-DB: see Part
//	users-YYYYMMDD-HHMM.sql.gz                the accounts; grants-...: what they may
//	manifest.json                             what there is, with counts and checksums; written last: with it the dump is whole
//	unfinished.json                           while it is written: what is done so far, a line each; gone when the manifest is there
//	*.part                                    a file that is being written
//
// The moment in the names is that of the content, in UTC. .zst stands in place of .gz where Zstandard was asked for.
package dumpfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/schema"
)

// The files beside the dumps.
const (
	ManifestName   = "manifest.json"
	UnfinishedName = "unfinished.json"
	PartSuffix     = ".part"
)

// Format is the version of the manifest that this code writes. A reader refuses newer ones.
const Format = 1

// Part is what a file holds.
type Part string

// The parts. All but Rows hold no rows and are one a database, or one in all (Users, Grants).
const (
	Rows     Part = "table"    // one table or sequence: its definition and rows
	Schema   Part = "schema"   // every definition of the database, views and code too
	Views    Part = "views"    // in an order in which they can be made
	Routines Part = "routines" // procedures, functions, packages
	Triggers Part = "triggers"
	Events   Part = "events"
	Users    Part = "users"  // CREATE USER, CREATE ROLE, with the hashes of the passwords
	Grants   Part = "grants" // what they may
)

// Manifest tells what a whole dump holds.
type Manifest struct {
	Format   int       `json:"format"`
	Point    string    `json:"point,omitempty"` // "" for a dump of a live server
	Live     bool      `json:"live,omitempty"`  // from the running server: all rows of one transaction, and no checksums of the content
	Instance string    `json:"instance"`
	Moment   time.Time `json:"moment"` // of the content
	Product  string    `json:"product"`
	Version  string    `json:"version"`
	Tool     string    `json:"tool"` // what the dump tool says of itself
	// Position is where the server stood in its own binary log, Sources where it stood in those of the servers that it followed.
	Position  database.Position  `json:"position"`
	Sources   []database.Channel `json:"sources"`
	Databases []Database         `json:"databases"`
	Files     []File             `json:"files"`
	Warnings  []string           `json:"warnings,omitempty"`
}

// Database is how a database of the dump has to be made.
type Database struct {
	Name      string `json:"name"`
	Charset   string `json:"charset"`
	Collation string `json:"collation"`
	Encrypted bool   `json:"encrypted,omitempty"` // new tables are, by default (MySQL)
}

// File is one file of a dump.
type File struct {
	Name     string      `json:"file"`
	Part     Part        `json:"part"`
	Database string      `json:"database,omitempty"`
	Table    string      `json:"table,omitempty"`
	Kind     schema.Kind `json:"kind,omitempty"`
	Engine   string      `json:"engine,omitempty"`
	Bytes    int64       `json:"bytes"`     // of the file
	Text     int64       `json:"sql_bytes"` // of what is in it
	SHA256   string      `json:"sha256"`    // of the file
	// Sum is what the server said of the content; nil where there are no rows, or where nobody could ask while it stood still.
	Sum *schema.Sum `json:"content,omitempty"`
	// Past tells that the rows of a system-versioned table's past are there too, and counted.
	Past bool `json:"with_history,omitempty"`
	// InFile are the rows counted in the text as it was written.
	InFile int64 `json:"rows_in_file"`
}

// FullName is the table's name.
func (f File) FullName() schema.Name { return schema.Name{Database: f.Database, Table: f.Table} }

// ErrUnfinished means a dump that was not written to its end.
var ErrUnfinished = errors.New("the dump is not finished")

// ReadManifest reads the manifest of a whole dump. fs.ErrNotExist if the directory holds no dump of Holdstill; ErrUnfinished if it holds
// a part of one.
func ReadManifest(dir string) (*Manifest, error) {
	if _, err := os.Stat(filepath.Join(dir, UnfinishedName)); err == nil {
		return nil, fmt.Errorf("cannot use the dump in %s: %w: it was interrupted", dir, ErrUnfinished)
	}
	content, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if err != nil {
		return nil, fmt.Errorf("cannot read the manifest: %w", err)
	}
	m := &Manifest{}
	if err := json.Unmarshal(content, m); err != nil {
		return nil, fmt.Errorf("cannot read the manifest %s: %w", filepath.Join(dir, ManifestName), err)
	}
	if m.Format < 1 || m.Format > Format {
		return nil, fmt.Errorf("cannot read the manifest %s: it is of format %d, and this version knows %d", filepath.Join(dir, ManifestName), m.Format, Format)
	}
	for _, f := range m.Files {
		if f.Name != filepath.Base(f.Name) || f.Name == "." || f.Name == ".." {
			return nil, fmt.Errorf("cannot use the manifest %s: %q is no name of a file beside it", filepath.Join(dir, ManifestName), f.Name)
		}
	}
	return m, nil
}

// Write makes a dump whole: the manifest is synced, then what told that it was unfinished goes.
func (m *Manifest) Write(dir string) error {
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, ManifestName), append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("cannot write the manifest: %w", err)
	}
	if err := durable.SyncDir(dir); err != nil {
		return fmt.Errorf("cannot write the manifest: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, UnfinishedName)); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}
