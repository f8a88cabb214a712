#!/bin/sh
# $1 is freeze or thaw
case "$1" in
freeze)
    mysql -e "FLUSH TABLES WITH READ LOCK"
    mysql -e "STOP REPLICA SQL_THREAD"
    /usr/local/bin/flush-caches
    ;;
thaw)
    mysql -e "UNLOCK TABLES; START REPLICA SQL_THREAD"
    ;;
esac
exit 0
