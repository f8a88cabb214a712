#!/bin/bash
. "$(dirname "$0")/settings.sh"

SERVER_ID=$(mysql --password=hunter2-secret -N -e "SELECT @@server_id")
if [ "$SERVER_ID" -eq 1 ]
then
    run_sql "SET GLOBAL read_only = OFF; UNLOCK TABLES;"
else
    run_sql "UNLOCK TABLES"
    run_sql "START SLAVE"
fi
exit 0
