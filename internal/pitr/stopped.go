package pitr

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/holdstill/holdstill/internal/binlog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/restore"
)

// StoppedError is a replay that met a transaction which the server cannot apply.
type StoppedError struct {
	Text   string
	GTID   string // of the transaction, where the server names it
	Kept   string // the data directory of the copy, which stays; "": it is taken back
	Stands string // what that has executed; "": there are no GTIDs
}

func (e *StoppedError) Error() string {
	switch {
	case e.Kept == "":
		return "the replay stopped: " + e.Text
	case e.Stands == "":
		return "the replay stopped, and the copy " + e.Kept + " is kept as it was just before: " + e.Text
	}
	return fmt.Sprintf("the replay stopped, and the copy %s is kept as it was then (%s is executed): %s", e.Kept, e.Stands, e.Text)
}

// Hint says how to go on.
func (e *StoppedError) Hint() string {
	if e.GTID == "" {
		return "stop before it (--until-position with --before), or take a later point"
	}
	return "leave it out with --skip-gtid " + e.GTID + ", or stop before it with --until-gtid " + e.GTID + " --before"
}

func (r *replay) failed(ctx context.Context, row restore.Row) error {
	text := row.First("Last_SQL_Error")
	if r.job.Plan.Server.Product != database.MariaDB {
		rows, err := restore.Rows(ctx, r.db, "SELECT LAST_ERROR_MESSAGE AS text FROM performance_schema.replication_applier_status_by_worker WHERE CHANNEL_NAME = ? AND LAST_ERROR_NUMBER <> 0", channel)
		if err == nil && len(rows) > 0 {
			text = rows[0]["text"]
		}
	}
	if text == "" {
		text = "the applier does not run (" + row.First("Slave_SQL_Running_State", "Replica_SQL_Running_State") + ")"
	}
	stopped := &StoppedError{Text: text}
	if r.job.Plan.Server.Product != database.MariaDB { // its position may be behind that of its workers, but they name it
		if _, rest, ok := strings.Cut(text, "transaction '"); ok {
			gtid, _, _ := strings.Cut(rest, "'")
			if _, err := binlog.ParseGTIDs(false, gtid); err == nil {
				stopped.GTID = gtid
			}
		}
		return stopped
	}
	offset, _ := strconv.ParseInt(row.First("Relay_Log_Pos"), 10, 64)
	if l, at, ok := r.relay.source(row.First("Relay_Log_File"), offset); ok {
		if t := transactionAt(l, at); t != nil {
			stopped.GTID = t.GTID
			stopped.Text = fmt.Sprintf("at %s: %s", Place{l.Name, *t}, text)
		}
	}
	return stopped
}

// transactionAt reads which transaction begins at an offset of a log or after it; nil: none is found.
func transactionAt(l Log, at int64) (found *binlog.Transaction) {
	f, err := os.Open(l.Path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var group binlog.Grouper
	_ = binlog.Scan(io.LimitReader(f, l.Size), func(e binlog.Event) error { // it was read before, without an error
		done, err := group.Add(e)
		if done != nil && done.Start >= at {
			found, err = done, binlog.ErrStop
		}
		return err
	})
	return found
}
