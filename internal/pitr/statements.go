package pitr

import (
	"fmt"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/restore"
)

// channel is the name of the replication channel that replays; a channel of its own leaves those of a replica's copy alone.
const channel = "holdstill"

// ofChannel ends MySQL's statements about it.
const ofChannel = " FOR CHANNEL '" + channel + "'"

// dialect is how a server is told to apply relay logs.
type dialect struct {
	change   string // with the name of the first relay log
	filters  []string
	doTable  string   // a filter for some tables, whose names stand for %s
	quoted   bool     // they are identifiers there
	parallel []string // %d is the number of workers; those that the server does not know are left out
	start    string
	stop     string
	status   string
	position string
	reset    string
	mode     string // of what runs in parallel
}

// bootArgs are options of the boot that replays. What is not known by a server is ignored by it ("loose"). Nothing is lost if the machine goes down: the
// restore is taken back and done again, or, of a copy that is taken further, known to be lost. So the commits need not be synced; the shutdown at the
// end syncs all.
var bootArgs = []string{
	"--sync-binlog=0", "--relay-log-recovery=OFF", "--loose-slave-skip-errors=OFF", "--loose-replica-skip-errors=OFF",
	"--loose-log-slave-updates=ON", "--loose-log-replica-updates=ON",
	// the copy's own replication may be told to look away, or to run triggers again that have run on the source
	"--loose-slave-exec-mode=STRICT", "--loose-replica-exec-mode=STRICT", "--loose-slave-run-triggers-for-rbr=NO",
	"--loose-master-info-repository=TABLE", "--loose-relay-log-info-repository=TABLE", // else MySQL 5.7 has no channels with names
}

func dialectOf(p restore.Program, stated bool) *dialect {
	if p.Product == database.MariaDB {
		return mariadbDialect(stated)
	}
	v := restore.ParseVersion(p.Version)
	switch {
	case v.AtLeast(8, 4, 0):
		return mysqlDialect("SOURCE", "REPLICA", "replica", "REPLICATION SOURCE", "BINARY LOG")
	case v.AtLeast(8, 0, 26):
		return mysqlDialect("SOURCE", "REPLICA", "replica", "REPLICATION SOURCE", "MASTER")
	case v.AtLeast(8, 0, 1):
		return mysqlDialect("MASTER", "SLAVE", "slave", "MASTER", "MASTER")
	}
	d := mysqlDialect("MASTER", "SLAVE", "slave", "MASTER", "MASTER")
	d.doTable = strings.TrimSuffix(d.doTable, ofChannel)
	d.filters[0] = strings.TrimSuffix(d.filters[0], ofChannel) // they are of the whole server, and gone with this boot
	return d
}

func mysqlDialect(source, replica, variable, change, binlog string) *dialect {
	const of = ofChannel
	return &dialect{
		change:  "CHANGE " + change + " TO " + source + "_HOST = 'holdstill.invalid', RELAY_LOG_FILE = '%s', RELAY_LOG_POS = 4, " + source + "_AUTO_POSITION = 0" + of,
		filters: []string{"CHANGE REPLICATION FILTER REPLICATE_DO_DB = (), REPLICATE_IGNORE_DB = (), REPLICATE_DO_TABLE = (), REPLICATE_IGNORE_TABLE = (), REPLICATE_WILD_DO_TABLE = (), REPLICATE_WILD_IGNORE_TABLE = (), REPLICATE_REWRITE_DB = ()" + of},
		doTable: "CHANGE REPLICATION FILTER REPLICATE_DO_TABLE = (%s)" + of, quoted: true,
		parallel: []string{
			"SET GLOBAL " + variable + "_parallel_type = 'LOGICAL_CLOCK'", "SET GLOBAL " + variable + "_preserve_commit_order = ON",
			"SET GLOBAL " + variable + "_parallel_workers = %d", "SET GLOBAL " + variable + "_checkpoint_period = 20",
		},
		start:    "START " + replica + " SQL_THREAD" + of,
		stop:     "STOP " + replica + " SQL_THREAD" + of,
		mode:     "logical clock",
		status:   "SHOW " + replica + " STATUS" + of,
		position: "SHOW " + binlog + " STATUS",
		reset:    "RESET " + replica + " ALL" + of,
	}
}

// mariadbDialect applies transactions optimistically, and repeats those that met others. What counts upwards outside of transactions, an
// AUTO_INCREMENT that a trigger of a statement asks for, then gets other values: with statements only those run side by side that did so before.
func mariadbDialect(stated bool) *dialect {
	name, mode := "'"+channel+"'", "optimistic"
	if stated {
		mode = "conservative"
	}
	d := &dialect{
		change: "CHANGE MASTER " + name + " TO MASTER_HOST = 'holdstill.invalid', RELAY_LOG_FILE = '%s', RELAY_LOG_POS = 4, MASTER_USE_GTID = no",
		// the worker threads are of the whole server, the mode is of the channel
		parallel: []string{"SET GLOBAL slave_parallel_threads = %d", "SET GLOBAL " + channel + ".slave_parallel_mode = '" + mode + "'"},
		mode:     mode,
		doTable:  "SET GLOBAL " + channel + ".replicate_do_table = '%s'",
		start:    "START SLAVE " + name + " SQL_THREAD",
		stop:     "STOP SLAVE " + name + " SQL_THREAD",
		status:   "SHOW SLAVE " + name + " STATUS",
		position: "SHOW MASTER STATUS",
		reset:    "RESET SLAVE " + name + " ALL",
	}
	for _, what := range []string{"do_db", "ignore_db", "do_table", "ignore_table", "wild_do_table", "wild_ignore_table", "rewrite_db"} {
		d.filters = append(d.filters, "SET GLOBAL "+channel+".replicate_"+what+" = ''")
	}
	return d
}

// withWorkers fills in the number of workers.
func withWorkers(statement string, workers int) string {
	if strings.Contains(statement, "%d") {
		return fmt.Sprintf(statement, workers)
	}
	return statement
}
