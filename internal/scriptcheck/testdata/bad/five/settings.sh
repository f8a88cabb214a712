DB_USER=backup
DB_PASS=hunter2-secret
MYSQL="mysql -u$DB_USER -p$DB_PASS"
LOG=/var/log/snapshot.log

run_sql() {
    $MYSQL -N -e "$1" >> $LOG 2>&1
}
