package family

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

// position is the place in the own binary log. Newlines in a GTID set are for terminals.
func (s *Server) position(answer Row) database.Position {
	offset, _ := strconv.ParseUint(answer.first("Position"), 10, 64)
	return database.Position{File: answer.first("File"), Offset: offset, GTID: oneLine(s.dialect.GTID(answer))}
}

func oneLine(gtids string) string {
	return strings.NewReplacer("\n", "", "\r", "", " ", "").Replace(gtids)
}

func (s *Server) readPosition(ctx context.Context, q querier) (database.Position, error) {
	var all []Row
	for _, statement := range s.say.Position {
		rows, err := query(ctx, q, statement)
		if err != nil {
			return database.Position{}, err
		}
		all = append(all, rows...)
	}
	return s.position(merge(all)), nil
}

// channels reads the state of every replication channel.
func (s *Server) channels(ctx context.Context, q querier) ([]database.Channel, error) {
	rows, err := query(ctx, q, s.say.ReplicaStatus)
	if err != nil {
		return nil, fmt.Errorf("cannot read the replication channels: %w", err)
	}
	return s.readChannels(rows, Row{}), nil
}

func (s *Server) readChannels(rows []Row, _ Row) []database.Channel {
	var out []database.Channel
	for _, r := range rows {
		c := readChannel(r)
		if c.Host != "" && (s.dialect.Skips == nil || !s.dialect.Skips(c.Name)) {
			out = append(out, c)
		}
	}
	return out
}

// isChannel tells a channel's row from that of the own position.
func isChannel(r Row) bool {
	return slices.ContainsFunc([]string{"slave_io_running", "replica_io_running"}, func(c string) bool { _, ok := r[c]; return ok })
}

func readChannel(r Row) database.Channel {
	c := database.Channel{
		Name: r.first("Connection_name", "Channel_Name"),
		Host: r.first("Source_Host", "Master_Host"), Port: int(r.number("Source_Port", "Master_Port")),
		User:         r.first("Source_User", "Master_User"),
		File:         r.first("Relay_Source_Log_File", "Relay_Master_Log_File"),
		Offset:       uint64(r.number("Exec_Source_Log_Pos", "Exec_Master_Log_Pos")),
		GTID:         oneLine(r.first("Executed_Gtid_Set", "Gtid_Slave_Pos")),
		AutoPosition: r.first("Auto_Position") == "1" || isGTIDChannel(r.first("Using_Gtid")),
		Receiver:     r.first("Replica_IO_Running", "Slave_IO_Running") != "No",
		Applier:      r.first("Replica_SQL_Running", "Slave_SQL_Running") != "No",
		SourceID:     uint32(r.number("Source_Server_Id", "Master_Server_Id")),
		SourceUUID:   r.first("Source_UUID", "Master_UUID"),
		RelayFile:    r.first("Relay_Log_File"),
		ReadFile:     r.first("Source_Log_File", "Master_Log_File"),
		ReadOffset:   uint64(r.number("Read_Source_Log_Pos", "Read_Master_Log_Pos")),
		Delay:        r.number("SQL_Delay"),
		Filters:      filters(r),
		SSL:          IsOn(r.first("Source_SSL_Allowed", "Master_SSL_Allowed")),
	}
	if lag, err := strconv.ParseInt(r.first("Seconds_Behind_Source", "Seconds_Behind_Master"), 10, 64); err == nil {
		c.Lag = &lag
	}
	if c.LastError = r.first("Last_SQL_Error"); c.LastError == "" {
		c.LastError = r.first("Last_IO_Error")
	}
	return c
}

// isGTIDChannel reads MariaDB's Using_Gtid: No, Slave_Pos or Current_Pos.
func isGTIDChannel(using string) bool { return using != "" && !strings.EqualFold(using, "No") }

func filters(r Row) string {
	var out []string
	for name, value := range r {
		if strings.HasPrefix(name, "replicate_") && value != "" {
			out = append(out, name+"="+value)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// replicas lists who reads our binary log now.
func (s *Server) replicas(ctx context.Context, q querier) ([]string, error) {
	dumps, err := query(ctx, q, "SHOW PROCESSLIST")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range dumps {
		if strings.HasPrefix(r.first("Command"), "Binlog Dump") {
			out = append(out, hostOf(r.first("Host")))
		}
	}
	registered, err := query(ctx, q, s.say.ReplicaHosts)
	if err != nil || len(registered) < len(out) {
		return out, nil //nolint:nilerr // the list with ids is a nicety that needs a privilege of its own
	}
	out = out[:0]
	for _, r := range registered {
		host := r.first("Host")
		if host == "" {
			host = "unnamed"
		}
		out = append(out, fmt.Sprintf("%s (server id %s)", host, r.first("Server_Id", "Server_id")))
	}
	return out, nil
}
