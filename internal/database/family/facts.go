package family

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/database"
)

// reader collects facts. A fact that cannot be had is noted, and the others go on.
type reader struct {
	*Server
	ctx  context.Context
	q    querier
	vars Variables
	out  *database.Facts
	// alone is known: the server has no source
	alone bool
}

// Facts reads everything that a plan depends on. It changes nothing.
func (s *Server) Facts(ctx context.Context) (*database.Facts, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, explain(s.Endpoint, err)
	}
	defer func() { _ = conn.Close() }()
	rows, err := query(ctx, conn, "SHOW GLOBAL VARIABLES")
	if err != nil {
		return nil, fmt.Errorf("cannot read the server's variables: %w", err)
	}
	r := &reader{Server: s, ctx: ctx, q: conn, vars: pairs(rows), out: &database.Facts{Product: s.product, Version: s.release}}
	r.settings()
	r.try("when the server started", r.started)
	r.try("the replication channels", r.readChannels)
	r.try("the privileges of this account", r.privileges)
	r.try("the connected replicas", r.readReplicas)
	r.role()
	r.try("the position in the binary log", r.readPosition)
	r.try("the storage engines of user tables", r.engines)
	r.paths()
	r.try("the files below the data directory", r.scan)
	r.try("prepared XA transactions", r.prepared)
	r.try("the running statements", r.runningNow)
	r.try("the server's process", r.process)
	r.try("the keyring", r.keyring)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the server's facts: %w", err)
	}
	return r.out, nil
}

func (r *reader) try(what string, read func() error) {
	if err := read(); err != nil {
		r.out.Unreadable = append(r.out.Unreadable, fmt.Sprintf("%s: %v", what, err))
	}
}

func (r *reader) settings() {
	f, v := r.out, r.vars
	f.ServerID, f.ServerUUID = uint32(v.number("server_id")), v["server_uuid"]
	f.Hostname, f.Port, f.Socket = v["hostname"], int(v.number("port")), v["socket"]
	f.ReadOnly, f.SuperReadOnly = v["read_only"], v["super_read_only"]
	f.LogBin, f.BinlogFormat = v.On("log_bin"), v["binlog_format"]
	f.GTIDMode = r.dialect.Mode(v)
	f.SyncBinlog, f.FlushLog = v.number("sync_binlog"), v.number("innodb_flush_log_at_trx_commit")
	f.ApplierWorkers = max(v.number("replica_parallel_workers"), v.number("slave_parallel_workers"))
	f.SkipStart = v.On("skip_replica_start") || v.On("skip_slave_start")
	f.BinlogBase, f.RelayBase = r.below(v["log_bin_basename"]), r.below(v["relay_log_basename"])
}

func (r *reader) started() (err error) {
	r.out.Started, err = started(r.ctx, r.q)
	return err
}

func (r *reader) readChannels() (err error) {
	r.out.Channels, err = r.channels(r.ctx, r.q)
	r.alone = err == nil && len(r.out.Channels) == 0
	if err != nil || r.alone {
		return err
	}
	rows, err := query(r.ctx, r.q, "SHOW GLOBAL STATUS LIKE "+Quote(r.say.TempTables))
	r.out.TempTables = pairs(rows).number(r.say.TempTables)
	return err
}

func (r *reader) readReplicas() (err error) {
	r.out.Replicas, err = r.replicas(r.ctx, r.q)
	return err
}

// role follows from what runs, not from what is configured elsewhere.
func (r *reader) role() {
	f := r.out
	switch {
	case len(f.Channels) > 0:
		f.Role, f.Chain = database.Replica, len(f.Replicas) > 0
	case len(f.Replicas) > 0:
		f.Role = database.Source
	default:
		f.Role = database.Standalone
	}
}

func (r *reader) readPosition() (err error) {
	r.out.Position, err = r.Server.readPosition(r.ctx, r.q)
	return err
}

func (r *reader) engines() error {
	rows, err := query(r.ctx, r.q, fmt.Sprintf(`SELECT ENGINE AS engine, COUNT(*) AS tables FROM information_schema.TABLES
		WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN (%s) GROUP BY ENGINE ORDER BY ENGINE`, systemSchemas))
	if err != nil {
		return err
	}
	var unknown error
	for _, row := range rows {
		if row["engine"] == "" { // NULL: the server could not open them, as they are damaged or locked by DDL
			unknown = fmt.Errorf("%s tables are locked by DDL or damaged", row["tables"])
			continue
		}
		r.out.Engines = append(r.out.Engines, database.Engine{Name: row["engine"], Tables: int(row.number("tables"))})
	}
	_, err = r.readLoose(r.ctx)
	return errors.Join(unknown, err)
}

func (r *reader) prepared() error {
	rows, err := query(r.ctx, r.q, r.say.XARecover)
	for _, row := range rows {
		r.out.Prepared = append(r.out.Prepared, fmt.Sprintf("%s,%s,%s: %s",
			row.first("formatID"), row.first("gtrid_length"), row.first("bqual_length"), strings.ToValidUTF8(row.first("data"), "?")))
	}
	return err
}

func (r *reader) runningNow() error {
	all, err := r.running(r.ctx, r.q)
	for _, s := range all {
		if s.Running >= time.Second {
			r.out.Running = append(r.out.Running, s)
		}
	}
	return err
}
