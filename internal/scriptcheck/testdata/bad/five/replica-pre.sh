#!/bin/bash
. "$(dirname "$0")/settings.sh"

run_sql "STOP SLAVE;"
$MYSQL <<SQL
-- nothing may be written now
FLUSH TABLES WITH READ LOCK;
SHOW SLAVE STATUS\G
SQL
sleep 5
