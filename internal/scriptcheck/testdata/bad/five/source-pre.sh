#!/bin/bash
. "$(dirname "$0")/settings.sh"

run_sql "FLUSH TABLES WITH READ LOCK;"
run_sql "SHOW MASTER STATUS;"
run_sql "SET GLOBAL read_only = ON;"
sleep 5
