package mysql

import (
	"fmt"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/family"
)

const (
	executed = "SELECT @@global.gtid_executed AS gtid_executed"

	// performance_schema knows a statement's age to the picosecond, where SHOW PROCESSLIST has whole seconds. But it gives the threads of
	// replication to the user who started them, and calls it a query that they wait for an event.
	running = `SELECT /* holdstill */ t.PROCESSLIST_ID AS id, t.PROCESSLIST_USER AS user, t.PROCESSLIST_COMMAND AS command,
		t.PROCESSLIST_STATE AS state, t.PROCESSLIST_INFO AS info, t.PROCESSLIST_TIME AS time, MAX(s.TIMER_WAIT) / 1000000000 AS time_ms
		FROM performance_schema.threads t LEFT JOIN performance_schema.events_statements_current s
		ON s.THREAD_ID = t.THREAD_ID AND s.END_EVENT_ID IS NULL
		WHERE t.TYPE = 'FOREGROUND' AND t.PROCESSLIST_ID <> CONNECTION_ID()
		AND t.NAME NOT LIKE 'thread/sql/replica%' AND t.NAME NOT LIKE 'thread/sql/slave%'
		GROUP BY 1, 2, 3, 4, 5, 6`
)

// base is what 5.6 understands.
var base = family.Statements{
	Stall:         "FLUSH TABLES WITH READ LOCK",
	ClosesTables:  true,
	FlushLogs:     "FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS",
	Position:      []string{"SHOW MASTER STATUS", executed},
	Release:       []string{"UNLOCK TABLES"},
	Running:       running,
	ReplicaStatus: "SHOW SLAVE STATUS",
	ReplicaHosts:  "SHOW SLAVE HOSTS",
	TempTables:    "Slave_open_temp_tables",
	Thread:        func(verb, thread, _ string) string { return verb + " SLAVE " + thread },
	CloseGaps:     func(string) string { return "START SLAVE SQL_THREAD UNTIL SQL_AFTER_MTS_GAPS" },
	XARecover:     "XA RECOVER",
	Tablespaces:   "SELECT PATH AS path FROM information_schema.INNODB_SYS_DATAFILES",
}

// changes are what versions changed, in their order; each applies from its version on.
var changes = []struct {
	since family.Version
	apply func(*family.Statements)
}{
	{family.V(5, 7, 0), func(s *family.Statements) { // several sources
		s.Thread = func(verb, thread, channel string) string {
			return fmt.Sprintf("%s SLAVE %s FOR CHANNEL %s", verb, thread, family.Quote(channel))
		}
		s.CloseGaps = func(channel string) string {
			return "START SLAVE SQL_THREAD UNTIL SQL_AFTER_MTS_GAPS FOR CHANNEL " + family.Quote(channel)
		}
	}},
	{family.V(5, 7, 8), func(s *family.Statements) {
		s.SuperReadOnly = true
		s.Tablespaces = "SELECT FILE_NAME AS path FROM information_schema.FILES WHERE ENGINE = 'InnoDB'"
	}},
	{family.V(8, 0, 0), func(s *family.Statements) {
		s.Enter = []string{"LOCK INSTANCE FOR BACKUP"} // keeps DDL out, touches no DML
		s.Release = []string{"UNLOCK TABLES", "UNLOCK INSTANCE"}
		// a session in LOCK TABLES runs nothing and yet keeps FLUSH TABLES WITH READ LOCK waiting
		s.TableLocks = `SELECT t.PROCESSLIST_ID AS id, t.PROCESSLIST_USER AS user, 'Query' AS command, 'holds LOCK TABLES' AS state,
			'LOCK TABLES' AS info, MAX(t.PROCESSLIST_TIME) + 1 AS time FROM performance_schema.metadata_locks m
			JOIN performance_schema.threads t ON t.THREAD_ID = m.OWNER_THREAD_ID
			WHERE m.OBJECT_TYPE = 'TABLE' AND m.LOCK_STATUS = 'GRANTED' AND m.LOCK_TYPE IN ('SHARED_NO_READ_WRITE', 'SHARED_READ_ONLY')
			AND t.PROCESSLIST_COMMAND = 'Sleep' GROUP BY 1, 2`
		s.UsesTables = `SELECT DISTINCT t.PROCESSLIST_ID AS id FROM performance_schema.threads t JOIN performance_schema.metadata_locks m
			ON m.OWNER_THREAD_ID = t.THREAD_ID WHERE m.OBJECT_TYPE IN ('TABLE', 'GLOBAL') AND m.LOCK_STATUS = 'GRANTED'
			AND t.PROCESSLIST_ID IN (%s)`
		// the receiver forgets what it was at when it is stopped; the coordinator then waits in the middle of it
		s.HalfReceived = `SELECT a.PROCESSING_TRANSACTION AS gtid FROM performance_schema.replication_applier_status_by_coordinator a
			JOIN performance_schema.replication_connection_status c ON c.CHANNEL_NAME = a.CHANNEL_NAME
			LEFT JOIN performance_schema.threads t ON t.THREAD_ID = a.THREAD_ID
			WHERE a.CHANNEL_NAME = %s AND a.PROCESSING_TRANSACTION <> '' AND
			(a.PROCESSING_TRANSACTION = c.QUEUEING_TRANSACTION OR t.PROCESSLIST_STATE LIKE '%%has read all relay log%%')`
	}},
	{family.V(8, 0, 22), func(s *family.Statements) {
		s.ReplicaStatus, s.ReplicaHosts = "SHOW REPLICA STATUS", "SHOW REPLICAS"
		s.Thread = func(verb, thread, channel string) string {
			return fmt.Sprintf("%s REPLICA %s FOR CHANNEL %s", verb, thread, family.Quote(channel))
		}
		s.CloseGaps = func(channel string) string {
			return "START REPLICA SQL_THREAD UNTIL SQL_AFTER_MTS_GAPS FOR CHANNEL " + family.Quote(channel)
		}
	}},
	{family.V(8, 0, 24), func(s *family.Statements) {
		s.Keyring = "SELECT STATUS_KEY AS variable_name, STATUS_VALUE AS value FROM performance_schema.keyring_component_status"
	}},
	{family.V(8, 0, 26), func(s *family.Statements) { s.TempTables = "Replica_open_temp_tables" }},
	{family.V(8, 2, 0), func(s *family.Statements) { s.Position = []string{"SHOW BINARY LOG STATUS", executed} }},
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

func one(privileges ...string) [][]string { return [][]string{privileges} }

// needs are the privileges. From 8.0 on SUPER is split into many.
func needs(v family.Version) []family.Need {
	out := []family.Need{
		{AnyOf: one("RELOAD"), On: "*.*", Mode: database.Hot, Why: "FLUSH TABLES WITH READ LOCK, FLUSH ENGINE LOGS"},
		{AnyOf: one("PROCESS"), On: "*.*", Mode: database.Hot, Why: "seeing what runs, and InnoDB's files"},
		{AnyOf: one("REPLICATION CLIENT"), On: "*.*", Mode: database.Hot, Why: "the binary log's position, the replication channels"},
		{AnyOf: [][]string{{"SHOW VIEW"}, {"SELECT"}}, On: "*.*", Mode: database.Hot, Why: "seeing that every table exists, not its rows"},
		{AnyOf: one("SELECT"), On: "performance_schema.*", Mode: database.Hot, Why: "the age of statements in milliseconds"},
	}
	replication, readOnly := one("SUPER"), one("SUPER")
	if v.AtLeast(family.V(8, 0, 0)) {
		out = append(out,
			family.Need{AnyOf: one("BACKUP_ADMIN"), On: "*.*", Mode: database.Hot, Why: "LOCK INSTANCE FOR BACKUP"},
			family.Need{AnyOf: one("XA_RECOVER_ADMIN"), On: "*.*", Mode: database.Hot, Why: "listing prepared XA transactions"})
		replication = [][]string{{"REPLICATION_SLAVE_ADMIN"}, {"SUPER"}}
		readOnly = [][]string{{"SYSTEM_VARIABLES_ADMIN", "CONNECTION_ADMIN"}, {"SUPER"}}
	}
	for _, mode := range []database.Mode{database.Locked, database.Cold} {
		out = append(out, family.Need{AnyOf: replication, On: "*.*", Mode: mode, Replica: true, Why: "stopping and starting replication threads"})
	}
	return append(out, family.Need{AnyOf: readOnly, On: "*.*", Mode: database.Cold, Why: "read_only, super_read_only"})
}
