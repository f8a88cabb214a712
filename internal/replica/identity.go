package replica

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/holdstill/holdstill/internal/restore"
)

// Identity is what a source says about itself and those who follow it.
type Identity struct {
	Address  string
	Product  string
	Version  string
	ServerID uint32
	UUID     string
	Replicas []Member
	ListErr  error // why its replicas cannot be listed
}

// Member is a replica that is connected to a source.
type Member struct {
	ServerID uint32
	Host     string
	UUID     string
}

// ask connects to a source as the replication account would.
func ask(ctx context.Context, c *Channel) (Identity, error) {
	id := Identity{Address: c.Address()}
	db, err := restore.Pool(c.Login)
	if err != nil {
		return id, err
	}
	defer func() { _ = db.Close() }()
	if id.Version, err = restore.Value(ctx, db, "SELECT VERSION()"); err != nil {
		return id, err
	}
	id.Product = productOf(id.Version)
	number, err := restore.Value(ctx, db, "SELECT @@GLOBAL.server_id")
	if err != nil {
		return id, err
	}
	id.ServerID = parseID(number)
	if !isMariaDB(id.Product) {
		id.UUID, _ = restore.Value(ctx, db, "SELECT @@GLOBAL.server_uuid")
	}
	cipher, err := restore.Rows(ctx, db, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
	c.TLS = err == nil && len(cipher) > 0 && cipher[0]["Value"] != ""
	id.Replicas, id.ListErr = members(ctx, db, id.Product, id.Version)
	return id, nil
}

func members(ctx context.Context, db *sql.DB, product, version string) ([]Member, error) {
	rows, err := restore.Rows(ctx, db, speak(product, version).replicas)
	var out []Member
	for _, r := range rows {
		out = append(out, Member{ServerID: parseID(r.First("Server_Id", "Server_id")), Host: r["Host"], UUID: r.First("Replica_UUID", "Slave_UUID")})
	}
	return out, err
}

func parseID(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

func unreachable(c *Channel, err error) restore.Problem {
	return restore.Problem{
		Text: fmt.Sprintf("the source %s cannot be asked as %q: %v", c.Address(), c.Login.User, err),
		Help: "is it running, and may the replication account log in from here? another address: --source, another account: --source-client-option-file",
	}
}

// takenBy collects every id that is known to be somebody's.
func takenBy(r Request, w *World) map[uint32]string {
	out := map[uint32]string{}
	for id, datadir := range w.Claimed {
		out[id] = "the replica in " + datadir
	}
	for _, s := range r.Point.Sources {
		out[s.SourceID] = "the source " + s.Host
	}
	for _, a := range w.Asked {
		note(out, a)
	}
	out[r.Point.Server.ServerID] = "the original, " + r.Point.Instance
	delete(out, 0)
	return out
}

func note(taken map[uint32]string, a Identity) {
	for _, m := range a.Replicas {
		taken[m.ServerID] = fmt.Sprintf("a replica of %s (%s)", a.Address, m.Host)
	}
	taken[a.ServerID] = "the source " + a.Address
}

// chooseID checks the wanted id, or throws dice.
func (p *Plan) chooseID(w *World) []restore.Problem {
	if p.Request.ServerID == "auto" {
		p.Auto = true
		p.ServerID = p.roll()
		return nil
	}
	n, err := strconv.ParseUint(p.Request.ServerID, 10, 32)
	if err != nil || n == 0 {
		return []restore.Problem{{Text: fmt.Sprintf("%q is no server_id: give auto, or a number from 1 to 4294967295", p.Request.ServerID)}}
	}
	p.ServerID = uint32(n)
	var out []restore.Problem
	if whose := p.taken[p.ServerID]; whose != "" {
		out = append(out, taken(p.ServerID, whose))
	}
	for _, a := range w.Asked {
		if a.ListErr != nil {
			out = append(out, unlisted(a))
		}
	}
	return out
}

func taken(id uint32, whose string) restore.Problem {
	return restore.Problem{
		Text: fmt.Sprintf("the server_id %d is taken: it is that of %s", id, whose),
		Help: "use --server-id auto, or a number that is free",
	}
}

// unlisted names the GRANT without which nobody can say that an id is free.
func unlisted(a Identity) restore.Problem {
	right := "REPLICATION SLAVE"
	if isMariaDB(a.Product) && restore.ParseVersion(a.Version).AtLeast(10, 5, 2) {
		right = "REPLICATION MASTER ADMIN"
	}
	return restore.Problem{
		Text: fmt.Sprintf("the replicas of %s cannot be listed, so a server_id cannot be told to be free: %v", a.Address, a.ListErr),
		Help: fmt.Sprintf("on the source: GRANT %s ON *.* TO the replication account; or use --server-id auto", right),
	}
}

// roll picks a random id: of four thousand million, so that even a replica that nobody lists will hardly have it.
func (p *Plan) roll() uint32 {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // it never fails
		id := binary.BigEndian.Uint32(b[:])
		if id > 1<<16 && p.taken[id] == "" { // people number their servers by hand with small ones
			return id
		}
	}
}

// confirmIdentity asks the sources that could not be asked before, and looks at all of them once more: time has passed.
func (m *making) confirmIdentity(ctx context.Context) error {
	for i := range m.Channels {
		c := &m.Channels[i]
		id, err := ask(ctx, c)
		if err != nil {
			return &restore.Refusal{What: "make the replica", Problems: []restore.Problem{unreachable(c, err)}}
		}
		note(m.taken, id)
		switch {
		case id.ListErr == nil:
			m.job.Verified("the source %s and its %d connected replicas do not have the server_id %d", id.Address, len(id.Replicas), m.ServerID)
		case m.Auto:
			m.job.Warn("the replicas of %s cannot be listed (%v): the server_id %d is random, and only likely to be free", id.Address, id.ListErr, m.ServerID)
		default:
			return &restore.Refusal{What: "make the replica", Problems: []restore.Problem{unlisted(id)}}
		}
	}
	whose := m.taken[m.ServerID]
	if whose == "" {
		return nil
	}
	if !m.Auto {
		return &restore.Refusal{What: "make the replica", Problems: []restore.Problem{taken(m.ServerID, whose)}}
	}
	m.ServerID = m.roll()
	return m.claimIdentity(ctx)
}

// changeIdentity makes the stopped copy another server.
func (m *making) changeIdentity() error {
	dir, f := m.Request.Datadir, &m.Restore.Options
	if err := restore.Forget(dir, "server_id", "server_uuid"); err != nil {
		return fmt.Errorf("cannot change the identity of the copy: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, "auto.cnf")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot change the identity of the copy: %w", err)
	}
	f.Unset(m.Restore.SkipStart())
	if m.Restore.SkippedStart() {
		f.Set(m.Restore.SkipStart(), "ON", "as the original has it: START the replica by hand after a restart")
	}
	f.Set("server_id", strconv.FormatUint(uint64(m.ServerID), 10), "its own")
	f.Set("report_host", m.reportHost(), "how the source lists it")
	f.Set("report_port", strconv.Itoa(m.Restore.Port), "")
	if len(m.Request.Point.Sources) == 0 {
		f.Set("read_only", "ON", "the original is the source: only replication writes here")
		f.Set("event_scheduler", "OFF", "the source's events run on the source, and their effects come by replication")
		m.job.Warn("the point is of a source: the replica is read_only, and its event scheduler is off")
	}
	return m.job.WriteOptions()
}

func (m *making) reportHost() string {
	bind := m.Request.BindAddress
	switch bind {
	case "", "*", "0.0.0.0", "::":
		if host, err := os.Hostname(); err == nil {
			return host
		}
	}
	return bind
}
