#!/bin/sh
set -e
mysql < /scripts/lock.sql
cat > /tmp/two.sql <<SQL
LOCK INSTANCE FOR BACKUP;
SQL
mysql --defaults-extra-file=/etc/backup.cnf < /tmp/two.sql
