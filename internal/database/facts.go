package database

import (
	"slices"
	"strings"
	"time"
)

// Role is a server's place in replication, from its own state.
type Role string

// The roles. A server in the middle of a chain is a replica that also has replicas: see Facts.Chain.
const (
	Source     Role = "source"
	Replica    Role = "replica"
	Standalone Role = "standalone"
)

// The products.
const (
	MySQL   = "mysql"
	MariaDB = "mariadb"
	Percona = "percona"
)

// Facts is what a server and its processes said about themselves at one moment. Nothing in it is assumed.
type Facts struct {
	Product    string    `json:"product"`
	Version    string    `json:"version"`
	ServerID   uint32    `json:"server_id"`
	ServerUUID string    `json:"server_uuid,omitempty"` // MySQL only
	Hostname   string    `json:"hostname"`
	Port       int       `json:"port"`
	Socket     string    `json:"socket"`
	Started    time.Time `json:"started"`
	Process    Process   `json:"process"`

	Role     Role      `json:"role"`
	Chain    bool      `json:"chain"` // it has both a source and replicas
	Channels []Channel `json:"channels,omitempty"`
	Replicas []string  `json:"replicas,omitempty"` // hosts whose binary log dump is running, "host (server id N)" where known

	ReadOnly      string `json:"read_only"`                 // as the server spells it: OFF, ON, NO_LOCK, ...
	SuperReadOnly string `json:"super_read_only,omitempty"` // MySQL >= 5.7.8

	Position     Position `json:"position"` // now, not held
	LogBin       bool     `json:"log_bin"`
	BinlogFormat string   `json:"binlog_format"`
	GTIDMode     string   `json:"gtid_mode"` // MySQL: ON/OFF/...; MariaDB: always ON when log_bin
	SyncBinlog   int64    `json:"sync_binlog"`
	FlushLog     int64    `json:"innodb_flush_log_at_trx_commit"`

	Paths      []Path      `json:"paths"`
	Engines    []Engine    `json:"engines"`
	Prepared   []string    `json:"prepared_xa,omitempty"`
	Running    []Statement `json:"running,omitempty"`          // statements running for a second or more
	Missing    []string    `json:"missing_privileges"`         // GRANT statements that a backup needs and that are missing
	Unreadable []string    `json:"unreadable,omitempty"`       // facts that could not be had, with the reason
	TempTables int64       `json:"open_temp_tables,omitempty"` // of the applier
	// SkipStart tells that the server starts without its replication threads (skip-slave-start in its options).
	SkipStart bool `json:"skip_replica_start"`
	// ApplierWorkers is more than 0 where MySQL's applier is parallel: while it runs its file and offset lag behind what it applied.
	ApplierWorkers int64 `json:"applier_workers,omitempty"`
	// MissingFor tells what each mode lacks beyond Missing, which is what the hot mode needs.
	MissingFor map[Mode][]string `json:"missing_privileges_by_mode,omitempty"`
	// BinlogBase and RelayBase are what the log files' names begin with, absolute: "/var/lib/mysql/binlog". Paths has their directories.
	BinlogBase string `json:"binlog_base,omitempty"`
	RelayBase  string `json:"relay_base,omitempty"`
	// Scripts is set for an application that scripts hold; then there is no server, and most of the above is empty.
	Scripts *Scripted `json:"scripts,omitempty"`
}

// Process is the server's process as the kernel shows it; zero if it cannot be seen (a container, another host).
type Process struct {
	PID         int          `json:"pid,omitempty"`
	Executable  string       `json:"executable,omitempty"`
	Arguments   []string     `json:"arguments,omitempty"` // those that look like secrets are left out
	OptionFiles []OptionFile `json:"option_files,omitempty"`
	Cgroup      string       `json:"cgroup,omitempty"`
	UID         int          `json:"uid"`
	GID         int          `json:"gid"`
}

// OptionFile is one of the option files that the server read, in reading order; values of secret options are blanked.
type OptionFile struct {
	Path    string   `json:"path"`
	Options []Option `json:"options"` // of the groups that a server reads
}

// Option is one line of an option file, its name with dashes turned to underscores.
type Option struct {
	Group string `json:"group"`
	Name  string `json:"name"`
	Value string `json:"value"`
	// Bare means that the line had no "=": the value is not empty but absent.
	Bare bool `json:"bare,omitempty"`
}

// Purpose tells what a path is for.
type Purpose string

// The purposes of MySQL's and MariaDB's files.
const (
	DataDir     Purpose = "data"
	SystemSpace Purpose = "innodb system tablespace"
	RedoLog     Purpose = "innodb redo log"
	UndoLog     Purpose = "innodb undo log"
	Doublewrite Purpose = "innodb doublewrite"
	Tablespace  Purpose = "innodb tablespace outside the data directory"
	TableFile   Purpose = "table files outside the data directory"
	SchemaDir   Purpose = "symlinked schema"
	BinaryLog   Purpose = "binary log"
	RelayLog    Purpose = "relay log"
	AriaLog     Purpose = "aria log"
	Keyring     Purpose = "keyring"
	Persisted   Purpose = "persisted variables"
)

// Path is a file or directory of the server, absolute, symlinks not resolved.
type Path struct {
	Purpose Purpose `json:"purpose"`
	Path    string  `json:"path"`
}

// Atomic reports whether this path has to be in one atomic cut with the other InnoDB files of a running server:
// recovery needs data, redo, undo and doublewrite of one moment.
func (p Purpose) Atomic() bool {
	return slices.Contains([]Purpose{DataDir, SystemSpace, RedoLog, UndoLog, Doublewrite, Tablespace}, p)
}

// Engine is a storage engine that holds rows of users.
type Engine struct {
	Name   string `json:"name"`
	Tables int    `json:"tables"`
}

// Has reports whether user tables of the engine exist; the case of the name does not matter.
func (f *Facts) Has(engine string) bool {
	return slices.ContainsFunc(f.Engines, func(e Engine) bool { return strings.EqualFold(e.Name, engine) && e.Tables > 0 })
}

// Path returns the first path of a purpose, or "".
func (f *Facts) Path(p Purpose) string {
	for _, path := range f.Paths {
		if path.Purpose == p {
			return path.Path
		}
	}
	return ""
}
