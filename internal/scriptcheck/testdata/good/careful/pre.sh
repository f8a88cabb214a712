#!/bin/bash
set -eu
STATE=/run/backup
CLIENT="mysql --defaults-extra-file=/etc/backup.cnf -N"
mkdir -p "$STATE"
$CLIENT -e "SELECT @@global.read_only" > "$STATE/read_only"
$CLIENT -e "SHOW REPLICA STATUS\G" > "$STATE/replica"

undo() {
    status=$?
    [ "$status" -eq 0 ] && exit 0
    fsfreeze -u /srv/data || true
    $CLIENT -e "SET GLOBAL read_only = $(cat "$STATE/read_only")"
    if grep -q 'Replica_SQL_Running: Yes' "$STATE/replica"; then
        $CLIENT -e "START REPLICA SQL_THREAD"
    fi
}
trap undo EXIT

$CLIENT -e "STOP REPLICA SQL_THREAD"
$CLIENT -e "SET GLOBAL read_only = ON"
# thaws when nobody calls post
(sleep 60; fsfreeze -u /srv/data) > /dev/null 2>&1 &
echo $! > "$STATE/guard"
fsfreeze -f /srv/data
