package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/restore"
)

// Channel is one source to follow, from where and as whom.
type Channel struct {
	Name   string
	Host   string
	Port   int
	GTID   bool   // by GTID, else by file and position
	File   string // of the source
	Offset uint64
	// Set is MariaDB's gtid_slave_pos to set first, for a copy that was no replica; "" leaves what the copy has.
	Set string
	// Known means that the copy has this channel already, with its account.
	Known bool
	Login restore.Login
	Given bool // the account was given, and is to be set
	TLS   bool // the source speaks TLS with us; counts only where the channel is new
}

// Address is HOST:PORT.
func (c Channel) Address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// World is what a plan depends on, beside the restore's.
type World struct {
	Restore  *restore.World
	Channels []Channel
	Asked    []Identity // of the sources that could be asked already
	Claimed  map[uint32]string
	Local    string // the address that the first source is reached from
	Faults   []restore.Problem
}

// Close lets go of the opened cuts.
func (w *World) Close() error { return w.Restore.Close() }

// Plan is what making a replica will do, and why.
type Plan struct {
	Request  Request
	Restore  *restore.Plan
	Channels []Channel
	ServerID uint32
	Auto     bool
	taken    map[uint32]string // ids that are not free, and whose they are
}

// Lines tells the plan to people.
func (p *Plan) Lines() []string {
	out := p.Restore.Lines()
	how := "a random server_id that the source does not know"
	if !p.Auto {
		how = fmt.Sprintf("the server_id %d", p.ServerID)
	}
	out = append(out, "give it an identity of its own: "+how+", and no server_uuid of the original")
	for _, c := range p.Channels {
		from := fmt.Sprintf("from %s:%d", c.File, c.Offset)
		if c.GTID {
			from = "by GTID"
		}
		if p.Request.RelayLogs == Keep {
			from = "with the relay logs that were copied"
		}
		out = append(out, fmt.Sprintf("follow %s %s, and wait up to %s until it has caught up", c.Address(), from, p.Request.CatchUp))
	}
	return out
}

func (r Request) defaults() Request {
	if r.ServerID == "" {
		r.ServerID = "auto"
	}
	if r.RelayLogs == "" {
		r.RelayLogs = Reset
	}
	if r.CatchUp == 0 {
		r.CatchUp = DefaultCatchUp
	}
	r.Start = true
	return r
}

// Look looks at the point and the target as a restore does, and asks the sources that can be asked already.
func Look(ctx context.Context, r Request, deps Deps) (*World, error) {
	r = r.defaults()
	w := &World{}
	w.Channels, w.Faults = channels(r)
	if len(w.Channels) > 0 {
		w.Local = localTo(w.Channels[0].Address())
	}
	if r.BindAddress == "auto" {
		r.BindAddress = w.Local
	}
	var err error
	if w.Restore, err = restore.Look(ctx, r.Request, deps); err != nil {
		return nil, err
	}
	if w.Claimed, err = claims(r.Claims); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	for i := range w.Channels {
		c := &w.Channels[i]
		found, err := earlyLogin(r, w.Restore, c)
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		if !found {
			continue // MySQL keeps it in a table: after the first boot
		}
		id, err := ask(ctx, c)
		if err != nil {
			w.Faults = append(w.Faults, unreachable(c, err))
			continue
		}
		w.Asked = append(w.Asked, id)
	}
	return w, nil
}

// channels are the sources that the point or the person names.
func channels(r Request) ([]Channel, []restore.Problem) {
	given := r.Source != ""
	p := r.Point
	var host string
	var port int
	if given {
		var err error
		if host, port, err = hostPort(r.Source, 3306); err != nil {
			return nil, []restore.Problem{{Text: fmt.Sprintf("the source %q is no HOST:PORT", r.Source)}}
		}
	}
	if len(p.Sources) == 0 {
		return own(r, host, port)
	}
	if given && len(p.Sources) > 1 {
		return nil, []restore.Problem{{
			Text: fmt.Sprintf("the point has %d sources, and one address cannot stand for all", len(p.Sources)),
			Help: "leave --source out, and change the channels afterwards",
		}}
	}
	var out []Channel
	for _, s := range p.Sources {
		c := Channel{Name: s.Name, Host: s.Host, Port: s.Port, GTID: s.AutoPosition, File: s.File, Offset: s.Offset, Known: true}
		if given {
			c.Host, c.Port = host, port
		}
		out = append(out, c)
	}
	return out, nil
}

// own makes the instance itself the source: the point is of a server that was no replica.
func own(r Request, host string, port int) ([]Channel, []restore.Problem) {
	p := r.Point
	if host == "" {
		host, port, _ = hostPort(p.Server.Address, p.Server.Port)
	}
	if host == "" && hostname.Name() == p.Host {
		host, port = "127.0.0.1", p.Server.Port
	}
	var faults []restore.Problem
	if host == "" {
		faults = append(faults, restore.Problem{
			Text: "nobody knows at which address a replica reaches " + p.Instance,
			Help: "give --source HOST:PORT, or set replication.address of the instance in the configuration",
		})
	}
	if p.Position.File == "" && p.Position.GTID == "" {
		faults = append(faults, restore.Problem{
			Text: p.Instance + " writes no binary log (the point has no position), so nothing can follow it",
			Help: "set log_bin on it and take a new point",
		})
	}
	if r.SourceClientOptionFile == "" {
		faults = append(faults, restore.Problem{
			Text: "the account that the replica should use at " + p.Instance + " is not known: the copy was no replica and has none",
			Help: "set replication.client_option_file of the instance in the configuration, or give one with --source-client-option-file",
		})
	}
	c := Channel{Host: host, Port: port, File: p.Position.File, Offset: p.Position.Offset}
	if isMariaDB(p.Server.Product) {
		c.GTID, c.Set = p.Position.GTID != "", p.Position.GTID
	} else {
		c.GTID = p.Position.GTID != ""
	}
	return []Channel{c}, faults
}

func hostPort(address string, port int) (string, int, error) {
	if address == "" {
		return "", 0, nil
	}
	host, number, err := net.SplitHostPort(address)
	if err != nil {
		return strings.Trim(address, "[]"), port, nil //nolint:nilerr // a host alone
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 65535 || host == "" {
		return "", 0, fmt.Errorf("%q is no HOST:PORT", address)
	}
	return host, n, nil
}

// localTo is our address on the way to another. Nothing is sent.
func localTo(address string) string {
	conn, err := (&net.Dialer{}).Dial("udp", address)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	host, _, _ := net.SplitHostPort(conn.LocalAddr().String())
	return host
}

func isMariaDB(product string) bool { return product == database.MariaDB }

// Decide is pure but for the dice: the plan, or a *restore.Refusal with all that is in the way.
func Decide(r Request, w *World) (*Plan, error) {
	r = r.defaults()
	problems := slices.Clone(w.Faults)
	if r.BindAddress == "auto" {
		r.BindAddress = w.Local
		if w.Local == "" {
			problems = append(problems, restore.Problem{Text: "no address of this machine leads to the source", Help: "give --bind-address"})
		}
	}
	p := &Plan{Request: r, Channels: w.Channels, taken: takenBy(r, w)}
	problems = append(problems, p.chooseID(w)...)
	problems = append(problems, p.checkForm()...)
	if r.InPlace {
		problems = append(problems, restore.Problem{Text: "a replica is a new server, and cannot be made in place"})
	}
	var err error
	if p.Restore, err = restore.Decide(r.Request, w.Restore); err != nil {
		var refused *restore.Refusal
		if !errors.As(err, &refused) {
			return nil, err
		}
		problems = append(problems, refused.Problems...)
	}
	if len(problems) > 0 {
		return nil, &restore.Refusal{What: "make a replica of " + r.Point.ID + " in " + r.Datadir, Problems: problems}
	}
	return p, nil
}

func (p *Plan) checkForm() []restore.Problem {
	r := p.Request
	fault := func(text, help string) []restore.Problem { return []restore.Problem{{Text: text, Help: help}} }
	switch {
	case r.RelayLogs != Reset && r.RelayLogs != Keep:
		return fault(fmt.Sprintf("relay logs are handled by %q or %q, not %q", Reset, Keep, r.RelayLogs), "")
	case r.RelayLogs == Reset:
		return nil
	case len(r.Point.Sources) == 0:
		return fault("the point is of a server that was no replica: it has no relay logs to keep", "leave --relay-logs out")
	case r.Source != "" && (p.Channels[0].Host != r.Point.Sources[0].Host || p.Channels[0].Port != r.Point.Sources[0].Port):
		return fault("a new source makes the server forget the relay logs that it has", "use --relay-logs reset")
	case restore.RelayPathAbsolute(r.Point) && !isMariaDB(r.Point.Server.Product):
		return fault("the original named its relay logs by an absolute path, which mysql.slave_relay_log_info remembers", "use --relay-logs reset")
	}
	return nil
}
