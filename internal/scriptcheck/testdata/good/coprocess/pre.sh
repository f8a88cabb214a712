#!/bin/bash
set -e
mkfifo /run/backup.fifo
mariadb --defaults-extra-file=/etc/backup.cnf < /run/backup.fifo > /run/backup.out 2>&1 &
CLIENT=$!
trap '[ $? -eq 0 ] || kill $CLIENT' EXIT
exec 3> /run/backup.fifo
echo "FLUSH TABLES WITH READ LOCK; SELECT 'held';" >&3
for i in $(seq 100); do
    grep -q held /run/backup.out && break
    sleep 0.1
done
grep -q held /run/backup.out
