#!/bin/bash
export MYSQL_PWD='hunter2-secret'
mariadb -NBe 'BACKUP STAGE START' &&
mariadb -NBe 'BACKUP STAGE BLOCK_COMMIT'
echo "FLUSH TABLES WITH READ LOCK" | mariadb
systemctl stop cron
fsfreeze -f /srv/data
(echo "FLUSH TABLES WITH READ LOCK;"; sleep 60) | mariadb &
mariadb -e "FLUSH TABLES WITH READ LOCK; SELECT SLEEP(30)" &
sync
