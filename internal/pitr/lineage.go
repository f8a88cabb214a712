package pitr

import (
	"fmt"

	"github.com/holdstill/holdstill/internal/binlog"
)

// lineage compares the logs of a server with what was walked of another one before: after a failover they begin with the same transactions. Where
// the old server has some that the new one never got, their histories part, and no moment after that is the state of either.
type lineage struct {
	runs map[uint32][]run // MariaDB: who made which sequence numbers of a domain

	own  *binlog.GTIDs // MySQL: what the new server has executed so far
	then *binlog.GTIDs // what had been walked when its logs began
}

// run is transactions that one server of MariaDB made one after the other.
type run struct {
	server   uint32
	from, to uint64
}

// walked takes note of a transaction on the way.
func (l *lineage) walked(mariadb bool, gtid string) {
	if !mariadb || gtid == "" {
		return
	}
	g, err := binlog.ParseMariaGTID(gtid)
	if err != nil {
		return
	}
	if l.runs == nil {
		l.runs = map[uint32][]run{}
	}
	runs := l.runs[g.Domain]
	if n := len(runs); n > 0 && runs[n-1].server == g.Server && runs[n-1].to < g.Sequence {
		runs[n-1].to = g.Sequence
		return
	}
	l.runs[g.Domain] = append(runs, run{g.Server, g.Sequence, g.Sequence})
}

// again looks at a transaction of a later server that is taken for one that was walked. MariaDB counts on by domain: the number alone does not tell.
func (l *lineage) again(mariadb bool, gtid string) error {
	if l.own != nil && !mariadb {
		return l.own.Add(gtid)
	}
	g, err := binlog.ParseMariaGTID(gtid)
	if err != nil || !mariadb {
		return nil
	}
	for _, r := range l.runs[g.Domain] {
		if r.from <= g.Sequence && g.Sequence <= r.to && r.server != g.Server {
			return fmt.Errorf("the histories of two servers part: one has %d-%d-%d, the other %s", g.Domain, r.server, g.Sequence, gtid)
		}
	}
	return nil
}

// joins begins with the logs of another server.
func (l *lineage) joins(before, walked *binlog.GTIDs) {
	l.own, l.then = before.Clone(), walked.Clone()
}

// parted tells what a MySQL server never got of what was walked before its logs; nil: it got all.
func (l *lineage) parted(mariadb bool) error {
	if mariadb || l.own == nil || l.own.Has(l.then) {
		return nil
	}
	return fmt.Errorf("the histories of two servers part: of %s, which one has, the other has only %s", l.then, l.own)
}
