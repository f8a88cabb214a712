package lab

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// ReplicateOptions say how a replica follows its source.
type ReplicateOptions struct {
	GTID     bool   // else by file and position
	FromNow  bool   // start at the source's present position; else at its first binlog, so that everything arrives
	Channel  string // MySQL's channel, MariaDB's connection name
	Host     string // the source's address; default its Bind
	User     string // default repl
	Password string // default replpw
}

// Replicate makes a fresh replica follow the source and waits until both its threads run. It creates the user on the source.
func Replicate(ctx context.Context, source, replica *Server, opts ReplicateOptions) error {
	if err := replicate(ctx, source, replica, opts.withDefaults(source)); err != nil {
		return fmt.Errorf("cannot make %s a replica of %s: %w", replica.Name, source.Name, err)
	}
	return nil
}

func (o ReplicateOptions) withDefaults(source *Server) ReplicateOptions {
	if o.Host == "" {
		o.Host = source.Bind
	}
	if o.User == "" {
		o.User = "repl"
	}
	if o.Password == "" {
		o.Password = "replpw"
	}
	return o
}

func replicate(ctx context.Context, source, replica *Server, o ReplicateOptions) error {
	if err := source.Exec(ctx, replicationUser(source.Build, o)...); err != nil {
		return err
	}
	from, err := source.replicationStart(ctx, o.FromNow)
	if err != nil {
		return err
	}
	if err := replica.Exec(ctx, follow(source, replica.Build, o, from)...); err != nil {
		return err
	}
	return replica.waitReplicating(ctx, o.Channel)
}

// replicationUser may also look at positions and at the source's list of replicas, as monitoring and failover tools do.
func replicationUser(b Build, o ReplicateOptions) []string {
	user := quote(o.User) + "@'%'"
	rights := "REPLICATION SLAVE, REPLICATION CLIENT"
	if b.Product == MariaDB { // it split the old rights in 10.5: SHOW SLAVE HOSTS needs the second
		rights = "REPLICATION SLAVE, REPLICATION MASTER ADMIN, BINLOG MONITOR"
	}
	return []string{b.createUser(user, o.Password), "GRANT " + rights + " ON *.* TO " + user}
}

// createUser makes a user who may be there already: a source has several replicas, and a replica of two sources gets the user twice.
func (b Build) createUser(user, password string) string {
	if b.AtLeast(5, 7) {
		return "CREATE USER IF NOT EXISTS " + user + " IDENTIFIED BY " + quote(password)
	}
	return "GRANT USAGE ON *.* TO " + user + " IDENTIFIED BY " + quote(password)
}

type coordinates struct {
	file, pos, gtid string
}

func (s *Server) replicationStart(ctx context.Context, now bool) (coordinates, error) {
	if !now {
		return coordinates{file: "binlog.000001", pos: "4"}, nil
	}
	show := "SHOW MASTER STATUS"
	if s.Build.NewStatements() {
		show = "SHOW BINARY LOG STATUS"
	}
	status, err := s.firstRow(ctx, show, nil)
	if err != nil {
		return coordinates{}, err
	}
	variable := "@@GLOBAL.gtid_executed"
	if s.Build.Product == MariaDB {
		variable = "@@GLOBAL.gtid_binlog_pos"
	}
	gtid, err := s.Value(ctx, "SELECT "+variable)
	return coordinates{file: status.get("File"), pos: status.get("Position"), gtid: strings.ReplaceAll(gtid, "\n", "")}, err
}

// follow gives the replica's statements. Host, port and coordinates stand in one statement: a new host alone resets the coordinates.
func follow(source *Server, b Build, o ReplicateOptions, from coordinates) []string {
	word := "MASTER"
	if b.NewStatements() {
		word = "SOURCE"
	}
	settings := []string{
		word + "_HOST=" + quote(o.Host),
		fmt.Sprintf("%s_PORT=%d", word, source.Port),
		word + "_USER=" + quote(o.User),
		word + "_PASSWORD=" + quote(o.Password),
		word + "_CONNECT_RETRY=1",
		word + "_HEARTBEAT_PERIOD=1",
	}
	var before []string
	switch {
	case o.GTID && b.Product == MariaDB:
		before = append(before, "SET GLOBAL gtid_slave_pos="+quote(from.gtid))
		settings = append(settings, word+"_USE_GTID=slave_pos")
	case o.GTID:
		if from.gtid != "" {
			before = append(before, b.resetBinlog(), "SET GLOBAL gtid_purged="+quote(from.gtid))
		}
		settings = append(settings, word+"_AUTO_POSITION=1")
	default:
		settings = append(settings, fmt.Sprintf("%s_LOG_FILE=%s", word, quote(from.file)), word+"_LOG_POS="+from.pos)
		if b.Product == MariaDB {
			settings = append(settings, word+"_USE_GTID=no")
		}
	}
	if b.Product == MySQL { // its default gives up after ten tries, which a source that restarts can outlast
		settings = append(settings, word+"_RETRY_COUNT=86400")
	}
	if b.NewStatements() { // caching_sha2_password over an unencrypted connection asks for the source's key
		settings = append(settings, "GET_SOURCE_PUBLIC_KEY=1")
	}
	return append(before, b.changeSource(o.Channel, strings.Join(settings, ", ")), b.startReplica(o.Channel))
}

func (b Build) resetBinlog() string {
	if b.NewStatements() {
		return "RESET BINARY LOGS AND GTIDS"
	}
	return "RESET MASTER"
}

func (b Build) changeSource(channel, settings string) string {
	switch {
	case b.Product == MariaDB:
		return "CHANGE MASTER " + named(channel) + "TO " + settings
	case b.NewStatements():
		return "CHANGE REPLICATION SOURCE TO " + settings + forChannel(channel)
	}
	return "CHANGE MASTER TO " + settings + forChannel(channel)
}

func (b Build) startReplica(channel string) string {
	switch {
	case b.Product == MariaDB:
		return "START SLAVE " + named(channel)
	case b.NewStatements():
		return "START REPLICA" + forChannel(channel)
	}
	return "START SLAVE" + forChannel(channel)
}

func named(channel string) string {
	if channel == "" {
		return ""
	}
	return quote(channel) + " "
}

func forChannel(channel string) string {
	if channel == "" {
		return ""
	}
	return " FOR CHANNEL " + quote(channel)
}

func (s *Server) waitReplicating(ctx context.Context, channel string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		status, err := s.replication(ctx, channel)
		if err != nil {
			return err
		}
		io := status.get("Replica_IO_Running", "Slave_IO_Running")
		sql := status.get("Replica_SQL_Running", "Slave_SQL_Running")
		if io == "Yes" && sql == "Yes" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("replication does not run (receiver %q, applier %q): %s %s: %w", io, sql,
				status.get("Last_IO_Error"), status.get("Last_SQL_Error"), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) replication(ctx context.Context, channel string) (row, error) {
	return s.firstRow(ctx, s.Build.showReplica(), func(r row) bool { return r.get("Channel_Name", "Connection_name") == channel })
}

func (b Build) showReplica() string {
	switch {
	case b.Product == MariaDB:
		return "SHOW ALL SLAVES STATUS"
	case b.NewStatements():
		return "SHOW REPLICA STATUS"
	}
	return "SHOW SLAVE STATUS"
}

// Channel is one replication channel as the server shows it.
type Channel struct {
	Name                        string
	Receiver, Applier           string // Yes, No, Connecting
	ReceiverError, ApplierError string // the last ones, "" for none
}

// Replication lists the server's channels.
func (s *Server) Replication(ctx context.Context) ([]Channel, error) {
	var out []Channel
	_, err := s.firstRow(ctx, s.Build.showReplica(), func(r row) bool {
		out = append(out, Channel{
			Name:          r.get("Channel_Name", "Connection_name"),
			Receiver:      r.get("Replica_IO_Running", "Slave_IO_Running"),
			Applier:       r.get("Replica_SQL_Running", "Slave_SQL_Running"),
			ReceiverError: r.get("Last_IO_Error"),
			ApplierError:  r.get("Last_SQL_Error"),
		})
		return false
	})
	return out, err
}
