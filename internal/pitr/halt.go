package pitr

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/holdstill/holdstill/internal/binlog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/restore"
)

// halted is where a replay stopped that met what it cannot apply.
type halted struct {
	stands Stand
	why    string
}

// halt makes of a copy whose replay stopped one that can be taken further: what it has executed is known exactly. Where it is not, the error comes back
// as it is, and the copy goes. One that takes the place of its original goes, too: the original's data come back.
func (r *replay) halt(ctx context.Context, stopped error) error {
	var met *StoppedError
	if !errors.As(stopped, &met) || r.job.Plan.Request.InPlace || r.job.Plan.Request.Scratch != "" {
		return stopped
	}
	row, err := r.stop(ctx)
	if err != nil {
		return errors.Join(stopped, err)
	}
	at, err := r.standing(ctx, row)
	if err != nil {
		return errors.Join(stopped, err)
	}
	if err := r.takeAway(ctx); err != nil {
		return errors.Join(stopped, err)
	}
	if err := r.exec(ctx, "SET GLOBAL innodb_fast_shutdown = 1"); err != nil { // no boot follows at once
		return errors.Join(stopped, err)
	}
	if err := r.tellPosition(ctx); err != nil {
		return errors.Join(stopped, err)
	}
	met.Kept, met.Stands = r.job.Plan.Request.Datadir, at.GTID
	r.halted = &halted{at, met.Text}
	return &restore.Halt{Err: errors.Join(stopped, r.tellPartial(ctx))}
}

// stop ends the applier and looks where it ended.
func (r *replay) stop(ctx context.Context) (restore.Row, error) {
	if err := r.exec(ctx, r.dialect.stop); err != nil {
		return nil, err
	}
	return r.look(ctx)
}

// standing tells where the copy stands in the logs of the way.
func (r *replay) standing(ctx context.Context, row restore.Row) (Stand, error) {
	if r.way.Nameless || r.way.Executed.Empty() {
		return r.counted(ctx, row)
	}
	at := r.way.From
	at.Partly = true
	at.LeftOut = append(at.LeftOut, r.way.Target.Skip...)
	var err error
	at.GTID, err = executedBy(ctx, r.job, r.db)
	return at, err
}

// counted does so without GTIDs: the applier says where it is, which is so if the copy has written just as many transactions as there are until there.
func (r *replay) counted(ctx context.Context, row restore.Row) (Stand, error) {
	offset, _ := strconv.ParseInt(row.First("Relay_Log_Pos"), 10, 64)
	l, at, ok := r.relay.source(row.First("Relay_Log_File"), offset)
	if !ok {
		return Stand{}, errors.New("where it stopped is not known exactly, and there are no GTIDs: the copy is not kept")
	}
	way, err := FindFrom(ctx, r.way.From, r.way.logs, Target{File: l.Name, Offset: at})
	if err != nil {
		return Stand{}, fmt.Errorf("where it stopped cannot be found: %w", err)
	}
	written, err := ownSince(r.job.Plan.Request.Datadir, r.own)
	if err != nil {
		return Stand{}, err
	}
	if written != way.Applied {
		return Stand{}, fmt.Errorf("where it stopped is not known exactly, and there are no GTIDs (%d transactions are written, and %d are before %s:%d): the copy is not kept", written, way.Applied, l.Name, at)
	}
	return way.End, nil
}

// executedBy is what a copy has executed.
func executedBy(ctx context.Context, j *restore.Job, db *sql.DB) (string, error) {
	mariadb := j.Plan.Server.Product == database.MariaDB
	variable := "gtid_executed"
	if mariadb {
		variable = "gtid_binlog_pos"
	}
	text, err := restore.Value(ctx, db, "SELECT @@GLOBAL."+variable)
	if err != nil {
		return "", fmt.Errorf("cannot read what the copy has executed: %w", err)
	}
	set, err := binlog.ParseGTIDs(mariadb, text)
	if err != nil {
		return "", err
	}
	return set.String(), nil
}

// otherEngines lists the tables of users whose changes are not taken back with their transaction.
func otherEngines(ctx context.Context, db *sql.DB) ([]string, error) {
	const query = "SELECT CONCAT('`', TABLE_SCHEMA, '`.`', TABLE_NAME, '` (', ENGINE, ')') AS name FROM information_schema.TABLES" +
		" WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE NOT IN ('InnoDB', 'ROCKSDB', 'TokuDB') AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1 LIMIT 5"
	rows, err := restore.Rows(ctx, db, query)
	if err != nil {
		return nil, fmt.Errorf("cannot list the tables without transactions: %w", err)
	}
	var out []string
	for _, row := range rows {
		out = append(out, row["name"])
	}
	return out, nil
}

// tellPartial warns of tables in which a part of the transaction that cannot be applied may have stayed.
func (r *replay) tellPartial(ctx context.Context) error {
	tables, err := otherEngines(ctx, r.db)
	if len(tables) > 0 {
		r.job.Warn("the copy has tables without transactions (%s, ..): if the transaction that cannot be applied changes such a table, a part of it may be there", tables[0])
	}
	return err
}
