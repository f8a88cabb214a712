package mariadb

import (
	"fmt"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/family"
)

// base is what every version understands.
var base = family.Statements{
	Stall:         "FLUSH TABLES WITH READ LOCK",
	ClosesTables:  true,
	FlushLogs:     "FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS",
	Position:      []string{"SHOW MASTER STATUS", "SELECT @@global.gtid_binlog_pos AS gtid_binlog_pos, @@global.gtid_current_pos AS gtid_current_pos"},
	Release:       []string{"UNLOCK TABLES"},
	Running:       "SELECT /* holdstill */ ID AS id, USER AS user, COMMAND AS command, STATE AS state, INFO AS info, TIME_MS AS time_ms FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()",
	ReplicaStatus: "SHOW ALL SLAVES STATUS",
	ReplicaHosts:  "SHOW SLAVE HOSTS",
	TempTables:    "Slave_open_temp_tables",
	Thread:        thread,
	XARecover:     "XA RECOVER",
}

// changes are what versions changed, in their order; each applies from its version on.
var changes = []struct {
	since family.Version
	apply func(*family.Statements)
}{
	// Backup stages: readers are never waited for. START waits for DDL, FLUSH blocks writers of MyISAM and Aria tables,
	// BLOCK_DDL waits for those that run and for DDL, BLOCK_COMMIT for the commits that are in their last part.
	{family.V(10, 4, 1), func(s *family.Statements) {
		s.Enter = []string{"BACKUP STAGE START"}
		s.Settle = []string{"BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL"}
		s.Stall, s.ClosesTables = "BACKUP STAGE BLOCK_COMMIT", false
		s.Release = []string{"BACKUP STAGE END"}
	}},
}

func statements(v family.Version) family.Statements {
	s := base
	for _, c := range changes {
		if v.AtLeast(c.since) {
			c.apply(&s)
		}
	}
	return s
}

// thread names the connection always: "" is the default one, whatever default_master_connection says.
func thread(verb, thread, channel string) string {
	return fmt.Sprintf("%s SLAVE %s %s", verb, family.Quote(channel), thread)
}

func one(privileges ...string) [][]string { return [][]string{privileges} }

// needs are the privileges. From 10.5.2 on the big ones of old are split.
func needs(v family.Version) []family.Need {
	monitor, replication, readOnly := one("REPLICATION CLIENT"), one("SUPER"), one("SUPER")
	if v.AtLeast(family.V(10, 5, 2)) {
		monitor, replication = one("BINLOG MONITOR"), one("REPLICATION SLAVE ADMIN")
		readOnly = one("READ_ONLY ADMIN")
	}
	out := []family.Need{
		{AnyOf: one("RELOAD"), On: "*.*", Mode: database.Hot, Why: "BACKUP STAGE, FLUSH TABLES WITH READ LOCK, FLUSH ENGINE LOGS"},
		{AnyOf: one("PROCESS"), On: "*.*", Mode: database.Hot, Why: "seeing what runs, and InnoDB's files"},
		{AnyOf: monitor, On: "*.*", Mode: database.Hot, Why: "the binary log's position"},
		{AnyOf: [][]string{{"SHOW VIEW"}, {"SELECT"}}, On: "*.*", Mode: database.Hot, Why: "seeing that every table exists, not its rows"},
	}
	if v.AtLeast(family.V(10, 5, 2)) {
		status := one("SLAVE MONITOR")
		if !v.AtLeast(family.V(10, 5, 9)) { // it came late
			status = replication
		}
		out = append(out, family.Need{AnyOf: status, On: "*.*", Mode: database.Hot, Why: "the replication channels"})
	}
	for _, mode := range []database.Mode{database.Locked, database.Cold} {
		out = append(out, family.Need{AnyOf: replication, On: "*.*", Mode: mode, Replica: true, Why: "stopping and starting replication threads"})
	}
	return append(out, family.Need{AnyOf: readOnly, On: "*.*", Mode: database.Cold, Why: "read_only"})
}
