package pitr

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/schema"
)

// Moment is what a replay did, for the result of a restore.
type Moment struct {
	Wanted  string  `json:"wanted"`
	Applied int     `json:"applied"` // transactions
	Bytes   int64   `json:"bytes"`
	Workers int     `json:"workers"`
	Mode    string  `json:"mode"`        // which transactions they apply at the same time
	Last    *Place  `json:"last"`        // that was applied; null: none
	Next    *Place  `json:"next"`        // that was not; null: there is none
	Near    []Place `json:"same_second"` // as the wanted time
	Skipped []Place `json:"skipped"`
	MS      float64 `json:"ms"`
}

// Onward is the replay of a way, for a restore; moment is filled in. Nil: there is nothing to replay.
func Onward(way *Way, deps restore.Deps, moment *Moment) *restore.Onward {
	return OnwardFor(way, nil, deps, moment)
}

// OnwardFor is Onward for a copy of which only some tables count: what cannot matter to them is not replayed, if that can be proven. The other
// tables then stand anywhere between the point and the moment.
func OnwardFor(way *Way, only []schema.Name, deps restore.Deps, moment *Moment) *restore.Onward {
	r := newReplay(way, deps, moment)
	r.only = only
	if way.Applied == 0 {
		return nil
	}
	return &restore.Onward{Args: slices.Concat(bootArgs, []string{"--innodb-flush-log-at-trx-commit=0"}), Do: r.do, Note: func(j *restore.Job) error {
		if j.Plan.Request.InPlace {
			return nil
		}
		return r.note(newState(j.Plan.Request, j.Plan))
	}}
}

// Stay makes that a copy for which there is nothing to replay can be taken further later; way may be nil.
func Stay(way *Way) *restore.Onward {
	return &restore.Onward{Note: func(j *restore.Job) error {
		if j.Plan.Request.InPlace {
			return nil
		}
		s := newState(j.Plan.Request, j.Plan)
		if way != nil {
			s.Wanted, s.Stands = way.Target.String(), way.End
		}
		return s.Write(j.Plan.Request.ConfigDir)
	}}
}

// replay is one replay under way.
type replay struct {
	way    *Way
	job    *restore.Job
	db     *sql.DB
	deps   restore.Deps
	moment *Moment
	only   []schema.Name // the tables that count; nil: all

	dialect *dialect
	relay   *relayFiles
	asleep  []string // events, before
	applied string   // gtid_slave_pos, before
	own     database.Position
	state   *State // of a copy that is taken further; nil: it is a new one
	halted  *halted
}

func newReplay(way *Way, deps restore.Deps, moment *Moment) *replay {
	*moment = Moment{Wanted: way.Target.String(), Applied: way.Applied, Bytes: way.Bytes, Last: way.Last, Next: way.Next, Near: way.Near, Skipped: way.Skipped}
	return &replay{way: way, deps: deps, moment: moment}
}

// do runs the replay while the copy's server runs.
func (r *replay) do(ctx context.Context, j *restore.Job, db *sql.DB) error {
	r.job, r.db = j, db
	begun := time.Now()
	err := r.run(ctx)
	j.Took("replay", begun)
	r.moment.MS = float64(time.Since(begun).Microseconds()) / 1000
	return err
}

// note writes down where the copy stands after a replay.
func (r *replay) note(s *State) error {
	s.Wanted, s.Stopped, s.Going, s.Stands = r.moment.Wanted, "", nil, r.way.End
	if r.way.Applied > 0 {
		s.Own, s.Stands.GTID = r.job.Result.Position, r.way.Executed.String() // with what was left out, of MySQL
	}
	if r.halted != nil {
		s.Stands, s.Stopped = r.halted.stands, r.halted.why
	}
	return s.Write(r.job.Plan.Request.ConfigDir)
}

func (r *replay) run(ctx context.Context) error {
	r.dialect = dialectOf(r.job.Plan.Server, r.way.Stated)
	r.deps.Stage("replay", "replaying %d transactions (%s) until %s", r.way.Applied, humanize.IBytes(uint64(r.way.Bytes)), r.way.Target)
	if err := r.stands(ctx); err != nil {
		return err
	}
	if err := r.narrow(ctx); err != nil || r.way.Applied == 0 {
		return err
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.going(); err != nil {
		return err
	}
	if err := r.apply(ctx); err != nil {
		return r.halt(ctx, err)
	}
	if err := r.finish(ctx); err != nil {
		return err
	}
	return errors.Join(r.verify(ctx), r.tellSleeping(ctx), r.tellPosition(ctx))
}

// stands makes sure that the copy has nothing beyond its point: that would be applied twice.
func (r *replay) stands(ctx context.Context) error {
	var err error
	if r.own, err = r.position(ctx); err != nil {
		return err
	}
	want := r.way.From.GTID
	if want == "" {
		return nil // by its binary log it was compared
	}
	have, same, err := restore.CompareGTID(ctx, r.db, r.job.Plan.Server.Product, want)
	if err != nil {
		return fmt.Errorf("cannot read the copy's GTID position: %w", err)
	}
	if !same {
		return fmt.Errorf("cannot replay: the copy stands at GTID position %q, and not at %q", have, want)
	}
	return nil
}

// tellPosition makes the result say where the copy stands now, in the log that it has written since the point.
func (r *replay) tellPosition(ctx context.Context) error {
	at, err := r.position(ctx)
	if err == nil && at.File != "" {
		r.job.Result.Position = at
	}
	return err
}

// position is where the copy's own log ends; that of a server that writes none is empty.
func (r *replay) position(ctx context.Context) (at database.Position, err error) {
	rows, err := restore.Rows(ctx, r.db, r.dialect.position)
	if err != nil {
		return at, fmt.Errorf("cannot read where the copy stands: %w", err)
	}
	if len(rows) != 1 {
		return at, nil
	}
	gtid := strings.Join(strings.Fields(rows[0]["Executed_Gtid_Set"]), "")
	if r.job.Plan.Server.Product == database.MariaDB {
		if gtid, err = restore.Value(ctx, r.db, "SELECT @@GLOBAL.gtid_binlog_pos"); err != nil {
			return at, fmt.Errorf("cannot read where the copy stands: %w", err)
		}
	}
	offset, err := strconv.ParseUint(rows[0]["Position"], 10, 64)
	return database.Position{File: rows[0]["File"], Offset: offset, GTID: gtid}, err
}

// apply lets the applier run until it has applied everything.
func (r *replay) apply(ctx context.Context) error {
	if err := r.exec(ctx, r.dialect.start); err != nil {
		return err
	}
	pause := time.Millisecond
	for {
		row, err := r.look(ctx)
		if err != nil {
			return err
		}
		done, all := r.progress(row)
		r.deps.Tell(restore.Event{Stage: "replay", Text: "replaying", Done: done, Total: r.relay.total()})
		switch {
		case row.First("Last_SQL_Errno") != "0" || row.First("Slave_SQL_Running", "Replica_SQL_Running") != "Yes":
			return r.failed(ctx, row)
		case all:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, 200*time.Millisecond)
		}
	}
}

func (r *replay) look(ctx context.Context) (restore.Row, error) {
	rows, err := restore.Rows(ctx, r.db, r.dialect.status)
	if err != nil {
		return nil, fmt.Errorf("cannot ask how far the replay is: %w", err)
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("cannot ask how far the replay is: the server tells of %d channels %q", len(rows), channel)
	}
	return rows[0], nil
}

// progress tells how much is applied, in bytes of the relay logs. A file that is none of ours is the server's own, which follows them.
func (r *replay) progress(row restore.Row) (done int64, all bool) {
	offset, _ := strconv.ParseInt(row.First("Relay_Log_Pos"), 10, 64)
	done, ours := r.relay.at(row.First("Relay_Log_File"), offset)
	if !ours {
		return r.relay.total(), true
	}
	return done, done >= r.relay.total()
}

// finish ends the applier, which waits for all its workers, looks once more, and takes the channel away.
func (r *replay) finish(ctx context.Context) error {
	if err := r.exec(ctx, r.dialect.stop); err != nil {
		return err
	}
	row, err := r.look(ctx)
	if err != nil {
		return err
	}
	if _, all := r.progress(row); !all || row.First("Last_SQL_Errno") != "0" {
		return r.failed(ctx, row)
	}
	return r.takeAway(ctx)
}

// takeAway takes the channel away.
func (r *replay) takeAway(ctx context.Context) error {
	if err := r.exec(ctx, r.dialect.reset); err != nil {
		return err
	}
	if err := r.putBackApplied(ctx); err != nil {
		return err
	}
	return r.exec(ctx, fmt.Sprintf("SET GLOBAL server_id = %d", r.job.Plan.Request.Point.Server.ServerID))
}

// putBackApplied makes a MariaDB that was no replica be none: the applier has moved gtid_slave_pos. That of a replica is where its source's
// transactions are in its log now, and stays.
func (r *replay) putBackApplied(ctx context.Context) error {
	if r.job.Plan.Server.Product != database.MariaDB || len(r.job.Plan.Request.Point.Sources) > 0 {
		return nil
	}
	// the strict mode does not want a position behind the own log's; the next boot has it again
	if err := r.exec(ctx, "SET GLOBAL gtid_strict_mode = OFF"); err != nil {
		return err
	}
	return r.exec(ctx, "SET GLOBAL gtid_slave_pos = '"+r.applied+"'")
}

func (r *replay) exec(ctx context.Context, statement string) error {
	if _, err := r.db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("cannot replay: %s: %w", statement, err)
	}
	return nil
}

// verify compares what the server has executed with what it should have.
func (r *replay) verify(ctx context.Context) error {
	if r.way.Executed.Empty() {
		r.job.Verified("the applier is at the end of %d transactions", r.way.Applied)
		return nil
	}
	want := r.way.Executed.String()
	have, same, err := restore.CompareGTID(ctx, r.db, r.job.Plan.Server.Product, want)
	if err != nil {
		return fmt.Errorf("cannot read the copy's GTID position: %w", err)
	}
	if !same {
		return fmt.Errorf("the copy has executed %q after the replay, not %q", have, want)
	}
	r.job.Verified("the replay ended at GTID position %s, after %d transactions", have, r.way.Applied)
	return nil
}
