package replica

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/holdstill/holdstill/internal/restore"
)

const lookEvery = 100 * time.Millisecond

// NotCaughtUp is a replica that is there and running, but has not caught up in the time that was given.
type NotCaughtUp struct {
	Result *Result
	Source string
	After  time.Duration
	Why    string // the errors of the threads, or how far it is behind
}

func (e *NotCaughtUp) Error() string {
	return fmt.Sprintf("the replica of %s has not caught up after %s: %s; it is left running (%s)", e.Source, e.After.Round(time.Millisecond), e.Why, e.Result.Socket)
}

// Hint says how to go on.
func (e *NotCaughtUp) Hint() string {
	return "look at it with: " + e.Result.Connect + "; stop it with: " + e.Result.Stop
}

// ahead is what a source had when we began to wait. Zero if it could not be asked.
type ahead struct {
	gtid   string
	file   string
	offset uint64
}

// status is where a channel stands.
type status struct {
	receiver, applier string // Yes, No, Connecting
	lag               *int64
	delay             int64 // that was configured
	readFile, file    string
	read, pos         uint64
	ioError, sqlError string
	ioErrno           string
	applierState      string
}

func readStatus(r restore.Row) status {
	number := func(columns ...string) uint64 {
		n, _ := strconv.ParseUint(r.First(columns...), 10, 64)
		return n
	}
	s := status{
		receiver: r.First("Replica_IO_Running", "Slave_IO_Running"), applier: r.First("Replica_SQL_Running", "Slave_SQL_Running"),
		readFile: r.First("Source_Log_File", "Master_Log_File"), read: number("Read_Source_Log_Pos", "Read_Master_Log_Pos"),
		file: r.First("Relay_Source_Log_File", "Relay_Master_Log_File"), pos: number("Exec_Source_Log_Pos", "Exec_Master_Log_Pos"),
		ioError: r["Last_IO_Error"], sqlError: r["Last_SQL_Error"], ioErrno: r["Last_IO_Errno"],
		applierState: r.First("Replica_SQL_Running_State", "Slave_SQL_Running_State", "Slave_SQL_State"),
	}
	if n, err := strconv.ParseInt(r.First("Seconds_Behind_Source", "Seconds_Behind_Master"), 10, 64); err == nil {
		s.lag = &n
	}
	s.delay = int64(number("SQL_Delay"))
	return s
}

// catchUp waits for every channel, keeps the replica, and says what was proven.
func (m *making) catchUp(ctx context.Context, db *sql.DB) (*Result, error) {
	begun := time.Now()
	waiting, cancel := context.WithTimeout(ctx, m.Request.CatchUp)
	defer cancel()
	out := &Result{ServerID: m.ServerID, ServerUUID: m.uuid, Sources: []string{}}
	var late *NotCaughtUp
	for i := range m.Channels {
		c := &m.Channels[i]
		out.Sources = append(out.Sources, c.Address())
		why, err := m.wait(waiting, db, c)
		if err != nil {
			return nil, err
		}
		if why != "" {
			late = &NotCaughtUp{Source: c.Address(), Why: why, After: time.Since(begun), Result: out}
			break
		}
		if err := m.alone(ctx, c); err != nil {
			return nil, err
		}
	}
	m.job.Took("catch-up", begun)
	out.CatchUpMS = float64(time.Since(begun).Microseconds()) / 1000
	out.CaughtUp = late == nil
	kept, err := m.job.Keep()
	out.Result = *kept
	if err != nil {
		return out, err
	}
	if late != nil {
		return out, late
	}
	return out, nil
}

// wait returns "" when the channel has applied what its source had when we began, or why it has not.
func (m *making) wait(ctx context.Context, db *sql.DB, c *Channel) (string, error) {
	goal, asked := whereIs(ctx, c)
	if asked != nil {
		m.job.Warn("the source %s does not tell where it stands (%v): caught up means nothing left to apply and no lag", c.Address(), asked)
	}
	last := "it did not answer"
	for {
		rows, err := restore.ReplicaStatus(ctx, db, m.Restore.Server)
		if row, ok := rows[c.Name]; ok && err == nil {
			s := readStatus(row)
			last = s.describe()
			m.tell(s)
			if s.hopeless() {
				return last + m.workers(ctx, db, c), nil
			}
			done, err := m.reached(ctx, db, c, s, goal)
			if err == nil && done && s.runs() && s.near() {
				m.proven(c, s, goal)
				return "", nil
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return "", ctx.Err()
			}
			return last, nil
		case <-time.After(lookEvery):
		}
	}
}

// workers tells what MySQL's parallel applier only hints at: the error of the worker that failed. 3030 is what the
// others say, which stopped because of it (ER_SLAVE_WORKER_STOPPED_PREVIOUS_THD_ERROR).
func (m *making) workers(ctx context.Context, db *sql.DB, c *Channel) string {
	if isMariaDB(m.Restore.Server.Product) {
		return ""
	}
	text, err := restore.Value(ctx, db, "SELECT LAST_ERROR_MESSAGE FROM performance_schema.replication_applier_status_by_worker WHERE CHANNEL_NAME = ? AND LAST_ERROR_NUMBER <> 0 ORDER BY LAST_ERROR_NUMBER = 3030 LIMIT 1", c.Name)
	if err != nil || text == "" {
		return ""
	}
	return "; a worker's error: " + text
}

// near: the source went on while the replica came closer, so having what it had once is not enough. The server tells its lag in
// whole seconds.
func (s status) near() bool { return s.lag == nil || *s.lag <= s.delay+1 }

func (s status) runs() bool { return s.receiver == "Yes" && s.applier == "Yes" }

// hopeless states do not mend by waiting: a thread that ended with an error, and an account that is refused.
func (s status) hopeless() bool {
	return s.applier == "No" && s.sqlError != "" || s.receiver == "No" && s.ioError != "" || s.ioErrno == "1045"
}

func (s status) describe() string {
	lag := "unknown"
	if s.lag != nil {
		lag = fmt.Sprintf("%d s", *s.lag)
	}
	out := fmt.Sprintf("receiver %s, applier %s, lag %s, received up to %s:%d, applied up to %s:%d", s.receiver, s.applier, lag, s.readFile, s.read, s.file, s.pos)
	if s.ioError != "" {
		out += "; receiver's error: " + s.ioError
	}
	if s.sqlError != "" {
		out += "; applier's error: " + s.sqlError
	}
	return out
}

func (m *making) tell(s status) {
	m.deps.Tell(restore.Event{Stage: "catch-up", Text: s.describe(), Done: int64(s.pos), Total: int64(s.read), LagSeconds: s.lag})
}

// whereIs asks the source for its position now.
func whereIs(ctx context.Context, c *Channel) (ahead, error) {
	db, err := restore.Pool(c.Login)
	if err != nil {
		return ahead{}, err
	}
	defer func() { _ = db.Close() }()
	version, err := restore.Value(ctx, db, "SELECT VERSION()")
	if err != nil {
		return ahead{}, err
	}
	if c.GTID {
		variable := "gtid_executed"
		if isMariaDB(productOf(version)) {
			variable = "gtid_binlog_pos"
		}
		gtid, err := restore.Value(ctx, db, "SELECT @@GLOBAL."+variable)
		return ahead{gtid: gtid}, err
	}
	rows, err := restore.Rows(ctx, db, speak(productOf(version), version).position)
	if err != nil || len(rows) == 0 {
		return ahead{}, err
	}
	offset, err := strconv.ParseUint(rows[0]["Position"], 10, 64)
	return ahead{file: rows[0]["File"], offset: offset}, err
}

// reached compares where the replica stands with what the source had.
func (m *making) reached(ctx context.Context, db *sql.DB, c *Channel, s status, goal ahead) (bool, error) {
	switch {
	case goal.gtid != "" && isMariaDB(m.Restore.Server.Product):
		at, err := restore.Value(ctx, db, "SELECT @@GLOBAL.gtid_slave_pos")
		return restore.GTIDReached(at, goal.gtid), err
	case goal.gtid != "":
		holds, err := restore.Value(ctx, db, "SELECT GTID_SUBSET(?, @@GLOBAL.gtid_executed)", goal.gtid)
		return holds == "1", err
	case goal.file != "":
		return s.file > goal.file && len(s.file) >= len(goal.file) || s.file == goal.file && s.pos >= goal.offset, nil
	}
	return s.file != "" && s.file == s.readFile && s.pos == s.read && s.lag != nil && *s.lag == 0, nil
}

func (m *making) proven(c *Channel, s status, goal ahead) {
	lag := ""
	if s.lag != nil {
		lag = fmt.Sprintf(", %d s behind", *s.lag)
	}
	m.job.Verified("receiver and applier of %s run%s", c.Address(), lag)
	switch {
	case goal.gtid != "":
		m.job.Verified("everything that %s had when it was asked is applied: %s", c.Address(), goal.gtid)
	case goal.file != "":
		m.job.Verified("everything that %s had when it was asked is applied: up to %s:%d", c.Address(), goal.file, goal.offset)
	default:
		m.job.Verified("everything that was received from %s is applied, and there is no lag: %s:%d", c.Address(), s.file, s.pos)
	}
}
