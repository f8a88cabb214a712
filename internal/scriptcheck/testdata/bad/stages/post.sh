#!/bin/bash
fsfreeze -u /srv/data
systemctl start cron
mariadb -e "SET @@global.super_read_only=0, GLOBAL read_only=0"
mariadb -e "start replica"
echo done
