package family

import (
	"errors"
	"io"

	"github.com/go-sql-driver/mysql"
)

// The server's error numbers that we act on.
const (
	errLockWait     = 1205 // lock_wait_timeout was over
	errInterrupted  = 1317 // KILL QUERY
	errNoThread     = 1094 // KILL of a connection that is gone
	errStatement    = 1969 // MariaDB: max_statement_time
	errMaxTime      = 3024 // MySQL: max_execution_time
	errStopApplier  = 1875 // MySQL: STOP REPLICA gave up waiting (rpl_stop_replica_timeout); the thread stops all the same
	errStopReceiver = 1876
)

func number(err error) uint16 {
	var answer *mysql.MySQLError
	if errors.As(err, &answer) {
		return answer.Number
	}
	return 0
}

// waited reports that a statement gave up waiting, by itself or because we stopped it.
func waited(err error) bool {
	switch number(err) {
	case errLockWait, errInterrupted, errStatement, errMaxTime:
		return true
	}
	return false
}

func joinClose(err error, c io.Closer) error { return errors.Join(err, c.Close()) }
