#!/bin/sh
# the client itself takes the snapshot while it holds the lock
mysql --defaults-extra-file=/etc/backup.cnf <<'SQL'
FLUSH TABLES WITH READ LOCK;
system lvcreate --snapshot --name snap --size 1G /dev/vg/data
UNLOCK TABLES;
SQL
