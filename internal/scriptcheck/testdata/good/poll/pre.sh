#!/bin/sh
set -e
until mysqladmin --defaults-extra-file=/etc/backup.cnf ping > /dev/null 2>&1; do
    sleep 1
done
if [ "$(id -u)" -ne 0 ]; then echo "run me as root" >&2; exit 1; fi
[ "$1" = freeze ] || exit 0
mysql --defaults-extra-file=/etc/backup.cnf -p -e "FLUSH LOGS"
mysql --password= -uroot -e "SELECT 'sleep 5; FLUSH TABLES WITH READ LOCK', @@server_id, '[[ x ]]'"
echo "STOP SLAVE is not sent; neither is -psecret; sleep 5"
# sleep 5; mysql -psecret -e "FLUSH TABLES WITH READ LOCK"
