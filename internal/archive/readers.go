package archive

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// Reader is a replica, and what is known of what it has.
type Reader struct {
	Name  string `json:"name"`
	ID    uint32 `json:"server_id"` // 0: unknown
	State string `json:"state"`     // for people
	// Blocks is why nobody knows what it has, so that every log stays; "": it is known.
	Blocks string `json:"blocks,omitempty"`
	// Ignored: it need not have read anything.
	Ignored bool `json:"ignored,omitempty"`

	host  string
	port  int
	gtids []*gtids // what it has executed, by one of them; none: it does not tell by GTIDs
	file  string   // the log of ours that it executes now; "": it does not tell
	apart bool     // it follows somebody else, or nobody
}

// askReaders lists all replicas, and asks each of them what it has executed: what the server has sent may be on its way for as long as the network
// likes. Of those that are not connected now nobody tells anything.
func (p *purger) askReaders() ([]Reader, error) {
	out := []Reader{}
	for i := range p.Replicas {
		r, err := p.askReplica(&p.Replicas[i])
		if err != nil {
			r.State, r.Blocks = "cannot be asked", fmt.Sprintf("what the replica %s has executed is not known: %v", r.Name, err)
		}
		out = append(out, r)
	}
	registered, err := p.registered()
	if err != nil {
		return nil, err
	}
	known := func(r Reader) bool {
		return r.ID == clientID(p.Host, p.Instance) || r.ID == fillerID(p.Host, p.Instance) || r.ID != 0 && slices.ContainsFunc(out, func(o Reader) bool { return o.ID == r.ID })
	}
	others := slices.DeleteFunc(slices.Clone(registered), known)
	away, err := p.remember(others)
	if err != nil {
		return nil, err
	}
	for _, r := range others {
		out = append(out, p.askRegistered(r))
	}
	for i := range out {
		if out[i].apart && slices.ContainsFunc(registered, func(r Reader) bool { return r.ID == out[i].ID }) {
			out[i].Blocks = fmt.Sprintf("the replica %s is connected to this server, and says that it does not follow it", out[i].Name)
		}
	}
	out = append(out, slices.DeleteFunc(away, known)...)
	nameless, err := p.nameless(len(registered))
	if err != nil {
		return nil, err
	}
	out = append(out, nameless...)
	for i := range out {
		out[i].Ignored = slices.Contains(p.Ignore, out[i].Name) || out[i].ID != 0 && slices.Contains(p.Ignore, strconv.FormatUint(uint64(out[i].ID), 10))
	}
	return out, nil
}

// askRegistered asks a replica of which only the server tells.
func (p *purger) askRegistered(r Reader) Reader {
	blocked := func(format string, args ...any) Reader {
		r.State = "cannot be asked"
		r.Blocks = fmt.Sprintf("what the replica %s has executed is not known: %s; name it under binlog.servers, or, if it does not count: --ignore-replica %d", r.Name, fmt.Sprintf(format, args...), r.ID)
		return r
	}
	if r.host == "" || r.port == 0 {
		return blocked("it does not say where it is (report_host)")
	}
	source, err := p.At(r.host, r.port)
	if err != nil {
		return blocked("%v", err)
	}
	asked, err := p.askReplica(&source)
	switch {
	case err != nil:
		return blocked("%v", err)
	case asked.ID != r.ID:
		return blocked("at %s is the server with the id %d", source.Address(), asked.ID)
	}
	asked.Name = r.Name
	return asked
}

// nameless are clients that read the server's logs and did not say who they are, as mysqlbinlog does. One that has been sent all is no reason to keep
// anything; of another the server keeps what it is sending, but not what it will send next.
func (p *purger) nameless(registered int) ([]Reader, error) {
	threads, err := p.dumps()
	if err != nil || len(threads) <= registered || threads.late() == "" {
		return nil, err
	}
	r := Reader{Name: fmt.Sprintf("%d clients that did not say who they are", len(threads)-registered), State: "being sent logs (" + threads.late() + ")"}
	r.Blocks = r.Name + " read the server's logs now: try again when they have ended"
	return []Reader{r}, nil
}

// askReplica asks a server of the topology what it has executed.
func (p *purger) askReplica(s *Source) (Reader, error) {
	r := Reader{Name: s.Address()}
	conn, err := s.connect(p.ctx)
	if err != nil {
		return r, err
	}
	defer conn.Close()
	row, err := first(conn, "SELECT @@server_id")
	if err != nil {
		return r, err
	}
	id, _ := strconv.ParseUint(row(0), 10, 32)
	r.ID = uint32(id)
	if err := r.askGTIDs(conn, p.facts); err != nil || len(r.gtids) > 0 {
		return r, err
	}
	return r, r.askPlace(conn, p.facts.server)
}

func (r *Reader) askGTIDs(conn *client.Conn, f *facts) error {
	variables := []string{"gtid_executed"}
	if f.server.Product == MariaDB {
		variables = []string{"gtid_slave_pos", "gtid_binlog_pos"}
	}
	if !f.gtids {
		return nil
	}
	for _, v := range variables {
		row, err := first(conn, "SELECT @@GLOBAL."+v)
		if err != nil {
			return err
		}
		g, err := parseGTIDs(row(0))
		if err != nil {
			return err
		}
		if row(0) != "" {
			r.gtids, r.State = append(r.gtids, g), "has executed "+g.String()
		}
	}
	return nil
}

// askPlace asks which log of the source a replica executes, without GTIDs. With several channels the earliest counts.
func (r *Reader) askPlace(conn *client.Conn, source Server) error {
	status, err := channels(conn, source.Product)
	if err != nil {
		return err
	}
	ours := 0
	for i := range status.RowNumber() {
		host, _ := status.GetStringByName(i, named(status, "Source_Host", "Master_Host"))
		id, _ := status.GetUintByName(i, named(status, "Source_Server_Id", "Master_Server_Id"))
		if id == 0 && host != "" { // it asks its source for the id, and forgets it when it restarts
			r.State = "has not reached its source since it started"
			r.Blocks = fmt.Sprintf("the replica %s has not reached its source %s since it started, and may follow this server: start its replication", r.Name, host)
			return nil
		}
		if uint32(id) != source.ID {
			continue
		}
		file, err := status.GetStringByName(i, named(status, "Relay_Source_Log_File", "Relay_Master_Log_File"))
		if err != nil {
			return err
		}
		if file == "" {
			r.State, r.Blocks = "has executed nothing", fmt.Sprintf("the replica %s has executed nothing of this server yet", r.Name)
			return nil
		}
		if ours++; ours == 1 || number(file) < number(r.file) {
			r.file = strings.Clone(file)
		}
	}
	if r.State = "is at " + r.file; ours == 0 {
		r.State, r.apart = "does not follow this server", true
	}
	return nil
}

// channels is what a server says of those that it replicates from.
func channels(conn *client.Conn, product string) (status *mysql.Result, err error) {
	statements := []string{"SHOW REPLICA STATUS", "SHOW SLAVE STATUS"}
	if product == MariaDB {
		statements = []string{"SHOW ALL SLAVES STATUS"}
	}
	for _, s := range statements {
		if status, err = conn.Execute(s); codeOf(err) != mysql.ER_PARSE_ERROR {
			break
		}
	}
	if err != nil {
		return nil, refused(statements[0], err)
	}
	return status, nil
}

// named is the first of the columns that a result has.
func named(r *mysql.Result, names ...string) string {
	for _, n := range names {
		if _, ok := r.FieldNames[n]; ok {
			return n
		}
	}
	return names[0]
}

// registered lists the replicas that are connected and said who they are.
func (p *purger) registered() ([]Reader, error) {
	conn, err := p.Admin.connect(p.ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var last error
	for _, s := range []string{"SHOW REPLICAS", "SHOW SLAVE HOSTS"} {
		r, err := conn.Execute(s)
		if err != nil {
			last = listRefused(s, err)
			if codeOf(err) == mysql.ER_PARSE_ERROR {
				continue
			}
			return nil, last
		}
		var out []Reader
		for i := range r.RowNumber() {
			id, _ := r.GetUintByName(i, named(r, "Server_Id", "Server_id"))
			host, _ := r.GetStringByName(i, "Host")
			port, _ := r.GetIntByName(i, "Port")
			one := Reader{Name: fmt.Sprintf("server id %d", id), ID: uint32(id), host: strings.Clone(host), port: int(port)}
			if host != "" {
				one.Name += fmt.Sprintf(" (%s:%d)", host, port)
			}
			out = append(out, one)
		}
		return out, nil
	}
	return nil, last
}

func listRefused(statement string, err error) error {
	if codeOf(err) == mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR {
		return hinted{fmt.Errorf("%s: %w", statement, err), "the account wants REPLICATION SLAVE, and on MariaDB REPLICATION MASTER ADMIN: without the list of replicas nothing is purged"}
	}
	return fmt.Errorf("%s: %w", statement, err)
}

// sending are the server's threads that send its logs, and what they do: "" once one was seen to have sent all.
type sending map[uint64]string

func (s sending) late() string {
	for _, state := range s {
		if state != "" {
			return state
		}
	}
	return ""
}

// dumps watches the threads for a moment: on a busy server each has sent all only now and then.
func (p *purger) dumps() (sending, error) {
	conn, err := p.Admin.connect(p.ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	out := sending{}
	for range 20 {
		if out, err = out.look(conn); err != nil || out.late() == "" {
			return out, err
		}
		select {
		case <-p.ctx.Done():
			return nil, p.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return out, nil
}

func (s sending) look(conn *client.Conn) (sending, error) {
	const statement = "SHOW PROCESSLIST"
	r, err := conn.Execute(statement)
	if err != nil {
		return nil, refused(statement, err)
	}
	out := sending{}
	for i := range r.RowNumber() {
		command, _ := r.GetStringByName(i, "Command")
		state, _ := r.GetStringByName(i, "State")
		id, _ := r.GetUintByName(i, "Id")
		if !strings.HasPrefix(command, "Binlog Dump") {
			continue
		}
		before, seen := s[id]
		if out[id] = strings.Clone(state); strings.Contains(state, "has sent all binlog") || seen && before == "" {
			out[id] = ""
		}
	}
	return out, nil
}
