// Package family is what MySQL and MariaDB have in common: connections, facts, the hold, replication, read_only.
// What differs is a Dialect, a readable table of statements and parsers that each make fills in.
//
// Three rules run through it. A statement that may wait is never cancelled by closing its connection, since the server would go on
// waiting: a second connection, open before, kills it. Whatever is put back later is written down as it was found, not as it
// should be. And a fact that cannot be had is said to be missing, never guessed.
package family

import (
	"github.com/holdstill/holdstill/internal/database"
)

// Dialect is one make: a product with its forks.
type Dialect struct {
	Products   []string
	Statements func(Version) Statements
	// Needs lists the privileges that the modes need, weakest mode first.
	Needs func(Version) []Need
	// Paths adds the files that only this product has.
	Paths func(Version, Variables) []database.Path
	// GTID picks the server's own position from the variables of a position query, and as Facts.GTIDMode its mode.
	GTID func(Row) string
	Mode func(Variables) string
	// Skips reports channels that are not ours to stop (group replication).
	Skips func(channel string) bool
	// Groups are the option file groups that this version reads: "mysqld", "mysqld-8.0", "mariadb-10.11".
	Groups func(Version) []string
}

// Statements is what one version of a product wants to hear.
type Statements struct {
	// Enter is taken early; it keeps DDL or other backups away and touches no writer.
	Enter []string
	// Settle is taken early too, unless tables without transactions exist: their writers block from here on.
	Settle []string
	// Stall makes commits wait.
	Stall string
	// ClosesTables says that Stall waits for every statement that has tables open, readers too, and that those who come
	// later wait behind it (FLUSH TABLES WITH READ LOCK).
	ClosesTables bool
	// FlushLogs writes out what InnoDB keeps in memory where a commit does not do so by itself.
	FlushLogs string
	// Position tells where the own binary log stands, in statements that are sent together with Stall.
	Position []string
	// Release ends Stall first, then what was taken early.
	Release []string

	Running       string // statements that run now, with their age in milliseconds; "" or not permitted: SHOW FULL PROCESSLIST
	TableLocks    string // sessions that hold explicit table locks without running anything
	UsesTables    string // of the connections in its %s, those that have a table open or locked; "": cannot be known
	ReplicaStatus string
	ReplicaHosts  string
	TempTables    string                                    // the status variable that counts the applier's temporary tables
	Thread        func(verb, thread, channel string) string // START or STOP of SQL_THREAD or IO_THREAD
	CloseGaps     func(channel string) string               // what a parallel applier needs before its position is one; nil: nothing
	HalfReceived  string                                    // channel %s, if its applier is in a transaction that is not all there; "": cannot be known
	SuperReadOnly bool
	XARecover     string
	Tablespaces   string // file names of InnoDB's tablespaces, relative to the data directory or absolute
	Keyring       string // the state of a loaded keyring component, names and values
}

// Need is a set of privileges on one object and the first mode that cannot do without it.
type Need struct {
	// AnyOf are alternatives, each a list of privileges; the first one is the least, and is what we ask for.
	AnyOf   [][]string
	On      string // "*.*", "performance_schema.*"
	Mode    database.Mode
	Replica bool // only a server that has a source needs it
	Why     string
}
