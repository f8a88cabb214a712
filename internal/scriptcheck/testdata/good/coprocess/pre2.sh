#!/bin/bash
coproc DB { mysql --defaults-extra-file=/etc/backup.cnf -N; }
echo "FLUSH TABLES WITH READ LOCK; SELECT 1;" >&"${DB[1]}"
read -r -t 10 answer <&"${DB[0]}" || { kill "$DB_PID"; exit 1; }
lvcreate --snapshot --name snap --size 1G /dev/vg/data
echo "UNLOCK TABLES;" >&"${DB[1]}"
