package scriptcheck

import "strings"

// rule is one known mistake. Why and remedy stand for all its findings that bring no words of their own; HOST in a remedy is the
// host's name.
type rule struct {
	name   string
	why    string
	remedy string
	find   func(*group, *view) []mistake
}

// rules are the known mistakes.
var rules = []rule{
	{
		name:   "unreadable",
		why:    "the shell stops at the first line that it does not understand, after having run the lines before it",
		remedy: "try it with `bash -n FILE` (sh -n, where sh runs it; python3 -m py_compile), or read it yourself",
		find:   unreadable,
	}, {
		name:   "lost-lock",
		why:    "a lock belongs to its connection and is gone with it, so nothing is held when the snapshot is taken",
		remedy: "put Holdstill in its place with `holdstill hook install HOST`: it keeps one connection open from pre to post, and says if it was lost",
		find:   lostLock,
	}, {
		name:   "fixed-sleep",
		why:    "it is too short on a busy day, and on all others the server stands still for nothing",
		remedy: "wait for the state itself, in a loop with a limit; `holdstill hook HOST` returns as soon as the hold is real",
		find:   fixedSleep,
	}, {
		name:   "role-by-server-id",
		why:    "a server_id is any number: after a failover, or on the next server, it tells the wrong role",
		remedy: "ask the server whether it has a source (SHOW REPLICA STATUS); `holdstill hook HOST` takes the role from its state",
		find:   roleByServerID,
	}, {
		name:   "removed-statement",
		why:    "the statement fails, and with it whatever the script wanted to know or do",
		remedy: "use `holdstill hook HOST`, which speaks each version's statements",
		find:   removedStatement,
	}, {
		name:   "read-only-off",
		why:    "a replica that was read-only before becomes writable, and its first write makes it differ from its source",
		remedy: "keep what @@global.read_only was before, and put that back; `holdstill hook HOST` does",
		find:   readOnlyOff,
	}, {
		name:   "replication-started",
		why:    "a replica that somebody had stopped on purpose starts to replicate after the backup",
		remedy: "look at SHOW REPLICA STATUS first, and start only the threads that ran; `holdstill hook HOST` does",
		find:   replicationStarted,
	}, {
		name:   "password",
		why:    "every user of the machine can read it in the process list, and everybody who may read the script has it",
		remedy: "put it into an option file of mode 0600 (--defaults-extra-file=FILE), or log in over the socket; then change the password",
		find:   password,
	}, {
		name:   "bash-under-sh",
		why:    "sh is dash on Debian and Ubuntu, which does not know it",
		remedy: "write it for sh (`dash -n FILE`), or begin with: [ -n \"$BASH_VERSION\" ] || exec bash \"$0\" \"$@\"",
		find:   bashUnderSh,
	}, {
		name:   "no-rollback",
		why:    "if a later step fails, or the host's time is over, it stays so: some hosts do not call post after a failed pre",
		remedy: "take it back in a trap on EXIT, before the script fails; `holdstill hook HOST` writes down how to take each step back before it acts",
		find:   noRollback,
	}, {
		name:   "status-ignored",
		why:    "the host takes it for a success, and calls a snapshot consistent that is not",
		remedy: "begin with set -e, or test each status and exit with 1",
		find:   statusIgnored,
	}, {
		name:   "freeze-without-guard",
		why:    "a freeze outlives the script: if post never comes, every write on that file system hangs until somebody thaws it",
		remedy: "start a process that thaws after a limit before you freeze; `holdstill hook HOST` has such a guard",
		find:   freezeWithoutGuard,
	},
}

func withHost(remedy, host string) string {
	if host == "" {
		return remedy
	}
	return strings.ReplaceAll(remedy, "HOST`", host+"`")
}

func unreadable(_ *group, v *view) []mistake {
	if v.fault == "" {
		return nil
	}
	return []mistake{{line: v.faultAt, what: v.fault}}
}
