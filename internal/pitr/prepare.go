package pitr

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/restore"
)

// prepare makes the relay logs and a channel that reads them.
func (r *replay) prepare(ctx context.Context) error {
	var err error
	if r.asleep, err = r.sleeping(ctx); err != nil {
		return err
	}
	if r.job.Plan.Server.Product == database.MariaDB {
		if r.applied, err = restore.Value(ctx, r.db, "SELECT @@GLOBAL.gtid_slave_pos"); err != nil {
			return fmt.Errorf("cannot read the copy's replication position: %w", err)
		}
	}
	if err := r.clear(ctx); err != nil {
		return err
	}
	if err := r.place(ctx); err != nil {
		return err
	}
	// the applier leaves out what has the server's own id, as it would come from itself
	if err := r.exec(ctx, fmt.Sprintf("SET GLOBAL server_id = %d", r.foreignID())); err != nil {
		return err
	}
	if err := r.exec(ctx, fmt.Sprintf(r.dialect.change, r.relay.names[0])); err != nil {
		return err
	}
	if err := r.leaveOut(ctx); err != nil {
		return err
	}
	for _, s := range slices.Concat(r.dialect.filters, r.dialect.only(r.only)) {
		if err := r.exec(ctx, s); err != nil && !unknownVariable(err) {
			return err
		}
	}
	r.moment.Workers, r.moment.Mode = max(4, 2*runtime.NumCPU()), r.dialect.mode
	for _, s := range r.dialect.parallel {
		if err := r.exec(ctx, withWorkers(s, r.moment.Workers)); err != nil && !unknownVariable(err) {
			return err
		}
	}
	return nil
}

// leaveOut makes the GTIDs of what is left out those of empty transactions, where the server's set would have holes else: a replica would fetch
// them again. MariaDB has a position, not a set.
func (r *replay) leaveOut(ctx context.Context) error {
	if r.job.Plan.Server.Product == database.MariaDB || len(r.way.Skipped) == 0 {
		return nil
	}
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, p := range r.way.Skipped {
		for _, s := range []string{"SET GTID_NEXT = '" + p.GTID + "'", "BEGIN", "COMMIT", "SET GTID_NEXT = 'AUTOMATIC'"} {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("cannot leave out %s: %s: %w", p, s, err)
			}
		}
		if err := r.way.Executed.Add(p.GTID); err != nil {
			return err
		}
	}
	return nil
}

func unknownVariable(err error) bool {
	var said *mysql.MySQLError
	return errors.As(err, &said) && said.Number == 1193
}

// foreignID is an id that no transaction on the way has.
func (r *replay) foreignID() uint32 {
	id := ^uint32(0)
	for r.way.Servers[id] || id == r.job.Plan.Request.Point.Server.ServerID {
		id--
	}
	return id
}

// place writes the relay logs under the names that the server will look for.
func (r *replay) place(ctx context.Context) error {
	name, err := restore.Value(ctx, r.db, "SELECT @@GLOBAL.relay_log_basename")
	if err != nil {
		return fmt.Errorf("cannot tell where the copy keeps relay logs: %w", err)
	}
	if name == "" { // MariaDB without relay_log; a restore names it
		return errors.New("the copy has no name for relay logs: write relay_log = relay-bin into its option file")
	}
	index, err := restore.Value(ctx, r.db, "SELECT @@GLOBAL.relay_log_index")
	if err != nil {
		return fmt.Errorf("cannot tell where the copy keeps relay logs: %w", err)
	}
	dir := r.job.Plan.Request.Datadir
	if index == "" {
		index = name + ".index"
	}
	if !filepath.IsAbs(index) {
		index = filepath.Join(dir, index)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	r.relay = &relayFiles{
		datadir: dir, dir: filepath.Dir(name), base: r.ofChannel(filepath.Base(name)), uid: int(owner.Uid), gid: int(owner.Gid),
		index: filepath.Join(filepath.Dir(index), r.ofChannel(strings.TrimSuffix(filepath.Base(index), ".index"))+".index"),
	}
	if !filepath.IsAbs(name) {
		r.relay.dir = dir
	}
	if aside := r.job.Result.Aside; aside != "" { // the logs may lie with the old data, which have another name now
		for i := range r.way.Pieces {
			if rest, ok := strings.CutPrefix(r.way.Pieces[i].Log.Path, dir+"/"); ok {
				r.way.Pieces[i].Log.Path = filepath.Join(aside, rest)
			}
		}
	}
	return r.relay.write(r.way.Pieces)
}

func (r *replay) ofChannel(name string) string { return name + "-" + channel }
