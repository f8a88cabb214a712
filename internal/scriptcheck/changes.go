package scriptcheck

import (
	"regexp"
	"slices"
	"strings"
)

// kind is something that a script does to the machine, and that has to be taken back.
type kind int

const (
	none kind = iota
	locking
	replicating
	readOnly
	freezing
	stopping
)

// change is one step there or back.
type change struct {
	kind    kind
	undo    bool
	what    string // in words that are not the script's
	line    int
	seq     int
	foreign bool
	live    bool // it is sent to a client that stays: its success is not that of the command
	when
}

var sqlChanges = []struct {
	pattern *regexp.Regexp
	kind    kind
	undo    bool
	what    string
}{
	{sql(`FLUSH (NO_WRITE_TO_BINLOG |LOCAL )?TABLES?\b.* WITH READ LOCK`), locking, false, "FLUSH TABLES WITH READ LOCK"},
	{sql(`LOCK TABLES? `), locking, false, "LOCK TABLES"},
	{sql(`BACKUP STAGE (START|FLUSH|BLOCK)`), locking, false, "BACKUP STAGE"},
	{sql(`LOCK INSTANCE FOR BACKUP`), locking, false, "LOCK INSTANCE FOR BACKUP"},
	{sql(`BACKUP LOCK `), locking, false, "BACKUP LOCK"},
	{sql(`UNLOCK (TABLES?|INSTANCE)`), locking, true, "UNLOCK"},
	{sql(`BACKUP (STAGE END|UNLOCK)`), locking, true, "BACKUP STAGE END"},
	{sql(`STOP (ALL )?(SLAVES?|REPLICAS?)\b`), replicating, false, "stopping replication"},
	{sql(`START (ALL )?(SLAVES?|REPLICAS?)\b`), replicating, true, "starting replication"},
	{sql(`SET .*\b(super_)?read_only ?:?= ?'?(ON|1|TRUE)\b`), readOnly, false, "read_only = ON"},
	{sql(`SET .*\b(super_)?read_only ?:?= ?`), readOnly, true, "putting read_only back"},
}

// sql compiles the beginning of a statement.
func sql(pattern string) *regexp.Regexp { return regexp.MustCompile(`(?i)^` + pattern) }

// changes lists what a script does, in its order.
func (v *view) changes() []change {
	var out []change
	for _, s := range v.statements() {
		for _, k := range sqlChanges {
			if k.pattern.MatchString(s.sql) {
				out = append(out, change{k.kind, k.undo, k.what, s.line, s.seq, s.foreign, s.session.live, s.when})
				break
			}
		}
	}
	for _, c := range v.commands {
		if k, undo, what := c.change(); k != none {
			out = append(out, change{k, undo, what, c.line, c.seq, c.foreign, false, c.when})
		}
	}
	slices.SortFunc(out, func(a, b change) int { return a.seq - b.seq })
	return out
}

// change tells what a program that is no database client does.
func (c *command) change() (k kind, undo bool, what string) {
	has := func(words ...string) bool {
		return slices.ContainsFunc(c.words[min(1, len(c.words)):], func(t text) bool { return slices.Contains(words, t.s) })
	}
	switch {
	case (c.name == "fsfreeze" || c.name == "xfs_freeze") && has("-f", "--freeze"):
		return freezing, false, "freezing a file system"
	case (c.name == "fsfreeze" || c.name == "xfs_freeze") && has("-u", "--unfreeze"):
		return freezing, true, "thawing a file system"
	case c.name == "systemctl" || c.name == "service" || c.name == "rc-service" || c.initScript():
		if has("stop", "kill") {
			return stopping, false, "stopping a service"
		}
		if has("start", "restart") {
			return stopping, true, "starting a service"
		}
	case (c.name == "mysqladmin" || c.name == "mariadb-admin") && has("shutdown"):
		return stopping, false, "shutting the server down"
	case (c.name == "mysqladmin" || c.name == "mariadb-admin") && has("stop-slave", "stop-replica", "stop-all-slaves"):
		return replicating, false, "stopping replication"
	case (c.name == "mysqladmin" || c.name == "mariadb-admin") && has("start-slave", "start-replica", "start-all-slaves"):
		return replicating, true, "starting replication"
	}
	return none, false, ""
}

func (c *command) initScript() bool {
	return len(c.words) > 0 && strings.HasPrefix(c.words[0].s, "/etc/init.d/")
}

// keeps reports whether a statement that comes after a lock in the same client keeps it, or gives it back on purpose.
var keeps = regexp.MustCompile(`(?i)^(system\s|\\!|unlock |backup (stage end|unlock))|\bsleep ?\(`)

// lost reports whether a lock is gone when the next command of the script runs: its client has ended.
func (s *statement) lost() bool {
	if s.session == nil || s.session.live {
		return false
	}
	for _, later := range s.session.statements {
		if later.seq > s.seq && keeps.MatchString(later.sql) {
			return false
		}
	}
	return true
}
