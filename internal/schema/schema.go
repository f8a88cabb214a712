// Package schema tells what a server holds: databases, tables with their engines and sizes, and the code and accounts beside them. It
// reads information_schema of MariaDB and of MySQL 5.7 and later, and changes nothing. It also reads the names of tables as people write
// them on a command line.
package schema

import (
	"slices"
	"strings"
)

// Server is what a server holds, without its own databases.
type Server struct {
	Product   string     `json:"product"` // mysql or mariadb
	Version   string     `json:"version"`
	FoldsCase bool       `json:"folds_case"` // names of tables that differ in their case only are one table (lower_case_table_names)
	Databases []Database `json:"databases"`
	Accounts  []Account  `json:"accounts,omitempty"`
}

// Database is one schema.
type Database struct {
	Name      string    `json:"name"`
	Charset   string    `json:"charset"`
	Collation string    `json:"collation"`
	Encrypted bool      `json:"encrypted,omitempty"` // new tables are, by default (MySQL)
	Tables    []Table   `json:"tables"`              // views and sequences too
	Routines  []Routine `json:"routines,omitempty"`
	Triggers  []Trigger `json:"triggers,omitempty"`
	Events    []string  `json:"events,omitempty"`
}

// Kind is what a table is.
type Kind string

// The kinds. Versioned is a base table that keeps its past (MariaDB).
const (
	Base      Kind = "table"
	View      Kind = "view"
	Sequence  Kind = "sequence"
	Versioned Kind = "system-versioned"
)

// Table is one table. Rows and sizes are the server's estimates: InnoDB's can be far off.
type Table struct {
	Database   string   `json:"database"`
	Name       string   `json:"name"`
	Kind       Kind     `json:"kind"`
	Engine     string   `json:"engine,omitempty"` // "" for a view
	Rows       int64    `json:"rows_estimated"`
	DataBytes  int64    `json:"data_bytes"`
	IndexBytes int64    `json:"index_bytes"`
	RowFormat  string   `json:"row_format,omitempty"`
	Collation  string   `json:"collation,omitempty"`
	Options    string   `json:"create_options,omitempty"` // as the server spells them
	Encrypted  bool     `json:"encrypted,omitempty"`
	Compressed bool     `json:"compressed,omitempty"` // pages or rows, by any of the products' ways
	Partitions []string `json:"partitions,omitempty"` // the leaves: subpartitions where there are some
	Comment    string   `json:"comment,omitempty"`
	// Problem is why the server itself cannot open the table; "" if it can.
	Problem string `json:"problem,omitempty"`
}

// Routine is a stored procedure or function, or one of MariaDB's packages.
type Routine struct {
	Name string `json:"name"`
	Type string `json:"type"` // PROCEDURE, FUNCTION, PACKAGE, PACKAGE BODY
}

// Trigger is one trigger of a table.
type Trigger struct {
	Name  string `json:"name"`
	Table string `json:"table"`
}

// Account is a user or a role.
type Account struct {
	User string `json:"user"`
	Host string `json:"host"` // "" for MariaDB's roles
	Role bool   `json:"role,omitempty"`
}

// FullName is the table's name with its database.
func (t Table) FullName() Name { return Name{t.Database, t.Name} }

// HasRows tells tables, whose rows a dump copies, from views. A sequence has one row, which is its state.
func (t Table) HasRows() bool { return t.Kind == Base || t.Kind == Versioned }

// Transactional engines give one consistent snapshot to a transaction.
func (t Table) Transactional() bool {
	switch strings.ToLower(t.Engine) {
	case "innodb", "rocksdb", "tokudb":
		return true
	}
	return false
}

// Bytes are data and indexes.
func (t Table) Bytes() int64 { return t.DataBytes + t.IndexBytes }

// own are the products' databases, which no dump copies.
var own = []string{"mysql", "sys", "information_schema", "performance_schema", "ndbinfo"}

// Own reports whether a database is the server's own.
func Own(database string) bool { return slices.Contains(own, strings.ToLower(database)) }

// Database finds one; nil if there is none of the name.
func (s *Server) Database(name string) *Database {
	for i := range s.Databases {
		if s.same(s.Databases[i].Name, name) {
			return &s.Databases[i]
		}
	}
	return nil
}

// Table finds one, a view or a sequence too; nil if there is none of the name.
func (s *Server) Table(n Name) *Table {
	d := s.Database(n.Database)
	if d == nil {
		return nil
	}
	for i := range d.Tables {
		if s.same(d.Tables[i].Name, n.Table) {
			return &d.Tables[i]
		}
	}
	return nil
}

// Same tells whether two names are one table's.
func (s *Server) Same(a, b Name) bool {
	return s.same(a.Database, b.Database) && s.same(a.Table, b.Table)
}

func (s *Server) same(a, b string) bool { return a == b || s.FoldsCase && strings.EqualFold(a, b) }
