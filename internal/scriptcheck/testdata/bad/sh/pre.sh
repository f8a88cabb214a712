#!/bin/bash
set -euo pipefail
source /etc/default/mysql
if [[ -z ${DATABASES[*]} ]]; then
    DATABASES=(shop crm)
fi
function log {
    echo -e "$(date)\t$1" &>> /var/log/pre.log
}
if [ "$1" == freeze ]; then log freeze; fi
trap 'log failed' ERR
NAME=${1^^}
diff <(echo a) <(echo b) || true
log "$RANDOM $NAME"
