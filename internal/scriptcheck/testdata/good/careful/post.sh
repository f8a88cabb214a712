#!/bin/bash
STATE=/run/backup
CLIENT="mysql --defaults-extra-file=/etc/backup.cnf -N"
rc=0
fsfreeze -u /srv/data || rc=1
kill "$(cat "$STATE/guard")"
if [ "$(cat "$STATE/read_only")" = 0 ]; then
    $CLIENT -e "SET GLOBAL read_only = OFF" || rc=1
fi
if grep -q 'Replica_SQL_Running: Yes' "$STATE/replica"; then
    $CLIENT -e "START REPLICA SQL_THREAD" || rc=1
fi
exit $rc
