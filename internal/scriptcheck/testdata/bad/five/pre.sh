#!/bin/bash
# Called by the backup before the snapshot.
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/settings.sh"

SERVER_ID=$(grep -i '^server-id' /etc/mysql/my.cnf | cut -d= -f2 | tr -d ' ')

if [ "$SERVER_ID" == 1 ]; then
    bash "$HERE/source-pre.sh"
else
    bash "$HERE/replica-pre.sh"
fi
sleep 5
exit 0
