package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// detour is the reading of another server's logs, which still have what those of the server that is followed have no more. When it is archived the
// logs of both overlap, so that there is no gap.
type detour struct {
	home Server // that is gone back to
	want *gtids // when all of this is archived
}

var (
	// errMet means that the detour is over.
	errMet = errors.New("what was missing is archived")
	// errVain means that a server does not have what it should, by what it says of itself.
	errVain = errors.New("its binary logs do not hold what is missing")
)

// peer is a server that answers.
type peer struct {
	source *Source
	conn   *client.Conn
	facts  *facts
}

func (p *peer) look(ctx context.Context, a *archiver) func(string) (*opening, error) {
	return func(name string) (*opening, error) {
		return peek(ctx, *p.source, p.facts.server.Product, a.id, name, a.Log)
	}
}

// wants tells what a server has no more that is missing between the archive and the log with which archiving would go on there; nil: nothing is, or no
// GTIDs tell.
func (c course) wants(end *entry, f *facts, look func(string) (*opening, error)) (*gtids, error) {
	if end == nil || c.resume || c.broken != "" || end.Broken != "" || end.GTIDAfter == "" || !f.gtids {
		return nil, nil
	}
	begins, err := look(c.from.file)
	if err != nil {
		return nil, err
	}
	have, err := parseGTIDs(end.GTIDAfter)
	if err != nil || have.lacks(begins.before) == "" || begins.before.lacks(have) != "" { // of the last: histories part
		return nil, err
	}
	return begins.before, nil
}

// around looks for a server of the topology whose logs have what those of the chosen one lack, and says where to begin there; nil: there is none.
func (a *archiver) around(ctx context.Context, end *entry, home *peer, c course) (*peer, course, error) {
	want, err := c.wants(end, home.facts, home.look(ctx, a))
	if err != nil || want == nil {
		return nil, c, err
	}
	if p, there := a.helper(ctx, end, home, want); p != nil {
		a.Log.Warn(fmt.Sprintf("%s has no more what is to be archived next: it is read from %s, which still has it", home.source.Address(), p.source.Address()),
			"instance", a.Instance, "gtids", lost(end, want))
		return p, there, nil
	}
	return nil, c, ctx.Err()
}

// helper is the first of the other servers whose logs have what is missing behind an end, and where to begin there; nil: none has.
func (a *archiver) helper(ctx context.Context, end *entry, home *peer, want *gtids) (*peer, course) {
	for i := range a.Sources {
		s := &a.Sources[i]
		if s == home.source || a.vain[s.Address()] == want.String() {
			continue
		}
		conn, f, err := meet(ctx, s)
		if err != nil {
			a.tell("what is missing cannot be read from another server: " + err.Error())
			continue
		}
		p := &peer{s, conn, f}
		c, err := a.holds(ctx, end, p, home, want)
		if err == nil {
			c.detour = &detour{home: home.facts.server, want: want}
			return p, c
		}
		_ = conn.Close()
		a.tell(fmt.Sprintf("what is missing cannot be read from %s: %s", s.Address(), err), beside(err)...)
	}
	return nil, course{}
}

func lost(end *entry, want *gtids) string {
	text, _ := missing(want.String(), end.GTIDAfter)
	return text
}

// holds finds where in a server's logs archiving can go on without a gap up to what is wanted; an error says why it cannot.
func (a *archiver) holds(ctx context.Context, end *entry, p, home *peer, want *gtids) (course, error) {
	if sameServer(p.facts.server, home.facts.server) {
		return course{}, errors.New("it is the same server")
	}
	has, err := logged(p)
	if err != nil {
		return course{}, err
	}
	if rest := has.lacks(want); rest != "" {
		return course{}, unfit{"its binary logs lack some of it, too", rest}
	}
	own, err := a.strange(ctx, p, home)
	if err != nil {
		return course{}, err
	}
	if own != "" {
		return course{}, unfit{"it has transactions that the server which is followed has not, and a replay must not apply (its own, or not replicated yet)", own}
	}
	c, err := a.course(end, p, p.look(ctx, a))
	if err != nil {
		return c, err
	}
	if c.gap != "" || c.doubt != "" || c.broken != "" {
		return c, errors.New(c.gap + c.doubt + c.broken)
	}
	if c.resume {
		return c, nil
	}
	begins, err := p.look(ctx, a)(c.from.file)
	if err == nil && lost(end, begins.before) != "" {
		err = fmt.Errorf("its oldest log %s begins behind it, with %s", c.from.file, lost(end, begins.before))
	}
	return c, err
}

// course is decide for a server that helps out. What fills a gap begins with a log of its own.
func (a *archiver) course(end *entry, p *peer, look func(string) (*opening, error)) (course, error) {
	if a.spool.end() == nil {
		return elsewhere(end, p.facts, look)
	}
	return decide(end, p.facts, look)
}

// unfit is why a server cannot help. The GTIDs are told beside it: they are others at each look, and the reason is told once.
type unfit struct{ reason, gtids string }

func (u unfit) Error() string { return u.reason }

// beside is what is logged with an error.
func beside(err error) []any {
	var u unfit
	if errors.As(err, &u) {
		return []any{"gtids", u.gtids}
	}
	return nil
}

// logged is what is in a server's binary logs, or was before they were purged.
func logged(p *peer) (*gtids, error) {
	variable := "gtid_executed"
	if p.facts.server.Product == MariaDB {
		variable = "gtid_binlog_pos"
	} else if on, err := logsReplicated(p.conn); err != nil || !on {
		return &gtids{}, err
	}
	row, err := first(p.conn, "SELECT @@GLOBAL."+variable)
	if err != nil {
		return nil, err
	}
	return parseGTIDs(row(0))
}

// strange is what a server has that the followed one has not; "": nothing. One that replicates from it gets a moment to have it, too.
func (a *archiver) strange(ctx context.Context, p, home *peer) (string, error) {
	has, err := everything(p)
	if err != nil {
		return "", err
	}
	for until := time.Now().Add(a.settleFor); ; {
		all, err := everything(home)
		if err != nil {
			return "", err
		}
		own := all.lacks(has)
		if own == "" || time.Now().After(until) {
			return own, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(a.settleFor / 10):
		}
	}
}

// lifetime is all that a server ever executed.
type lifetime struct {
	sets    *gtids
	origins origins // MariaDB's
}

func (e lifetime) lacks(all lifetime) string {
	if all.origins != nil {
		return e.origins.lacks(all.origins)
	}
	return e.sets.lacks(all.sets)
}

// everything is what a server executed, whether it logs what it replicates or not. MariaDB knows only of what it logged, but of each server that wrote it:
// its positions are the last of a domain, behind which is hidden what somebody else wrote before.
func everything(p *peer) (lifetime, error) {
	if p.facts.server.Product != MariaDB {
		row, err := first(p.conn, "SELECT @@GLOBAL.gtid_executed")
		if err != nil {
			return lifetime{}, err
		}
		sets, err := parseGTIDs(row(0))
		return lifetime{sets: sets}, err
	}
	row, err := first(p.conn, "SELECT @@GLOBAL.gtid_binlog_state")
	if err != nil {
		return lifetime{}, err
	}
	all, err := parseOrigins(row(0))
	return lifetime{origins: all}, err
}

// logsReplicated tells whether a MySQL server logs what it replicates. One that does not says that it executed it nevertheless.
func logsReplicated(conn *client.Conn) (bool, error) {
	row, err := first(conn, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_replica_updates', 'log_slave_updates')")
	if err != nil {
		return false, err
	}
	return strings.EqualFold(row(1), "ON"), nil
}
