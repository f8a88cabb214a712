package scriptcheck

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// never is a version that no server has.
const never = "never"

// dated is a statement that not every version has. An empty version is: always, or not removed.
type dated struct {
	pattern      *regexp.Regexp
	name         string
	instead      string
	gone         string // from this MySQL on; MariaDB has it still
	since        string // from this MySQL on
	sinceMariaDB string
	newer        *regexp.Regexp // a script that has this as well knows both
}

// history is what changed between the versions. TestStatementsOnServers asks the servers of the test matrix; the versions at which it
// changed are the manuals'; that 11.8.9 has SHOW BINARY LOG STATUS is in none yet, its server says so.
var history = []dated{
	{pattern: sql(`SHOW MASTER STATUS`), name: "SHOW MASTER STATUS", instead: "SHOW BINARY LOG STATUS", gone: "8.4", newer: sql(`SHOW (BINARY LOG|BINLOG) STATUS`)},
	{pattern: sql(`SHOW MASTER LOGS`), name: "SHOW MASTER LOGS", instead: "SHOW BINARY LOGS", gone: "8.4", newer: sql(`SHOW BINARY LOGS`)},
	{pattern: sql(`PURGE MASTER LOGS`), name: "PURGE MASTER LOGS", instead: "PURGE BINARY LOGS", gone: "8.4", newer: sql(`PURGE BINARY LOGS`)},
	{pattern: sql(`RESET MASTER\b`), name: "RESET MASTER", instead: "RESET BINARY LOGS AND GTIDS", gone: "8.4", newer: sql(`RESET BINARY LOGS`)},
	{pattern: sql(`SHOW SLAVE STATUS`), name: "SHOW SLAVE STATUS", instead: "SHOW REPLICA STATUS", gone: "8.4", newer: sql(`SHOW REPLICA STATUS`)},
	{pattern: sql(`SHOW SLAVE HOSTS`), name: "SHOW SLAVE HOSTS", instead: "SHOW REPLICAS", gone: "8.4", newer: sql(`SHOW REPLICAS`)},
	{pattern: sql(`START SLAVE\b`), name: "START SLAVE", instead: "START REPLICA", gone: "8.4", newer: sql(`START REPLICA`)},
	{pattern: sql(`STOP SLAVE\b`), name: "STOP SLAVE", instead: "STOP REPLICA", gone: "8.4", newer: sql(`STOP REPLICA`)},
	{pattern: sql(`RESET SLAVE\b`), name: "RESET SLAVE", instead: "RESET REPLICA", gone: "8.4", newer: sql(`RESET REPLICA`)},
	{pattern: sql(`CHANGE MASTER\b`), name: "CHANGE MASTER TO", instead: "CHANGE REPLICATION SOURCE TO", gone: "8.4", newer: sql(`CHANGE REPLICATION SOURCE`)},
	{pattern: sql(`(SET|SELECT|SHOW)\b.*\bexpire_logs_days\b`), name: "expire_logs_days", instead: "binlog_expire_logs_seconds", gone: "8.4", newer: sql(`.*binlog_expire_logs_seconds`)},
	{pattern: sql(`(SHOW|START|STOP|RESET) ALL (SLAVES|REPLICAS)`), name: "the form for all connections (SHOW ALL SLAVES STATUS ...)", instead: "the form without ALL", since: never},
	{pattern: sql(`BACKUP (STAGE|LOCK|UNLOCK)`), name: "BACKUP STAGE", instead: "LOCK INSTANCE FOR BACKUP, or FLUSH TABLES WITH READ LOCK", since: never, sinceMariaDB: "10.4.1"},
	{pattern: sql(`(UN)?LOCK INSTANCE`), name: "LOCK INSTANCE FOR BACKUP", instead: "BACKUP STAGE", since: "8.0", sinceMariaDB: never},
	{pattern: sql(`SHOW BINARY LOG STATUS`), name: "SHOW BINARY LOG STATUS", instead: "SHOW MASTER STATUS", since: "8.2", sinceMariaDB: "11.8.9", newer: sql(`SHOW MASTER STATUS`)},
	{pattern: sql(`(SHOW REPLICA STATUS|(START|STOP|RESET) REPLICA\b)`), name: "the word REPLICA", instead: "SLAVE", since: "8.0.22", sinceMariaDB: "10.5.1", newer: sql(`(SHOW|START|STOP|RESET) SLAVE\b`)},
	{pattern: sql(`SELECT .*\bperformance_schema\.log_status`), name: "performance_schema.log_status", instead: "BACKUP STAGE and gtid_binlog_pos", since: "8.0.11", sinceMariaDB: never},
}

// removedStatement: statements that the server does not have, or that the next version will not.
func removedStatement(g *group, v *view) []mistake {
	var out []mistake
	all := v.statements()
	for _, s := range all {
		i := slices.IndexFunc(history, func(d dated) bool { return d.pattern.MatchString(s.sql) })
		if i < 0 || s.foreign {
			continue
		}
		d := history[i]
		if d.newer != nil && slices.ContainsFunc(all, func(o *statement) bool { return d.newer.MatchString(o.sql) }) {
			continue // it tries one, then the other
		}
		if what := d.missing(g.world); what != "" {
			out = append(out, mistake{line: s.line, what: what, remedy: "write " + d.instead + ", or use `holdstill hook HOST`, which speaks each version's statements"})
		}
	}
	return out
}

// missing says that a server does not have the statement, or which will not, if none is known.
func (d dated) missing(w World) string {
	this := fmt.Sprintf("%s: this server (%s %s) does not have it", d.name, w.Product, w.Version)
	switch {
	case w.Product == "" || w.Version == "":
		if d.gone != "" {
			return fmt.Sprintf("%s: MySQL does not have it from %s on", d.name, d.gone)
		}
	case w.Product == "mariadb":
		if d.sinceMariaDB != "" && !atLeast(w.Version, d.sinceMariaDB) {
			return this
		}
	case d.gone != "" && atLeast(w.Version, d.gone), d.since != "" && !atLeast(w.Version, d.since):
		return this
	}
	return ""
}

// atLeast compares versions number by number.
func atLeast(version, limit string) bool {
	if limit == never {
		return false
	}
	have, want := numbers(version), numbers(limit)
	for i, n := range want {
		if i >= len(have) {
			return false
		}
		if have[i] != n {
			return have[i] > n
		}
	}
	return true
}

func numbers(version string) []int {
	var out []int
	version, _, _ = strings.Cut(version, "-")
	for _, part := range strings.Split(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}
