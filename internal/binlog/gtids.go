package binlog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// GTIDs is a set of executed transactions: a MySQL set, or a MariaDB position, which has the last transaction of each domain and implies all
// before it.
type GTIDs struct {
	set     *mysql.MysqlGTIDSet // nil: MariaDB
	domains map[uint32]MariaGTID
}

// MariaGTID is one GTID of MariaDB.
type MariaGTID struct {
	Domain, Server uint32
	Sequence       uint64
}

func (g MariaGTID) String() string { return fmt.Sprintf("%d-%d-%d", g.Domain, g.Server, g.Sequence) }

// ParseGTIDs reads a set as the servers write it, with or without white space; "" is the empty set.
func ParseGTIDs(mariadb bool, text string) (*GTIDs, error) {
	text = strings.Join(strings.Fields(text), "")
	if !mariadb {
		set, err := mysql.ParseMysqlGTIDSet(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no set of GTIDs as MySQL writes them (UUID:1-5): %w", text, err)
		}
		return &GTIDs{set: set.(*mysql.MysqlGTIDSet)}, nil
	}
	out := &GTIDs{domains: map[uint32]MariaGTID{}}
	if text == "" {
		return out, nil
	}
	for one := range strings.SplitSeq(text, ",") {
		g, err := ParseMariaGTID(one)
		if err != nil {
			return nil, err
		}
		out.domains[g.Domain] = g // a Gtid_list has one of each server, the last one last
	}
	return out, nil
}

// ParseMariaGTID reads one.
func ParseMariaGTID(text string) (MariaGTID, error) {
	parts := strings.Split(text, "-")
	if len(parts) == 3 {
		domain, err1 := strconv.ParseUint(parts[0], 10, 32)
		server, err2 := strconv.ParseUint(parts[1], 10, 32)
		sequence, err3 := strconv.ParseUint(parts[2], 10, 64)
		if err1 == nil && err2 == nil && err3 == nil {
			return MariaGTID{uint32(domain), uint32(server), sequence}, nil
		}
	}
	return MariaGTID{}, fmt.Errorf("%q is no GTID as MariaDB writes them (DOMAIN-SERVER-SEQUENCE)", text)
}

// Add adds one transaction. It must be well-formed; an empty one is none.
func (g *GTIDs) Add(gtid string) error {
	if gtid == "" {
		return nil
	}
	if g.set != nil {
		return g.set.Update(gtid)
	}
	one, err := ParseMariaGTID(gtid)
	if err == nil {
		g.domains[one.Domain] = one
	}
	return err
}

// Has tells whether all of other is in the set.
func (g *GTIDs) Has(other *GTIDs) bool {
	if g.set != nil {
		return g.set.Contain(other.set)
	}
	for domain, o := range other.domains {
		if g.domains[domain].Sequence < o.Sequence {
			return false
		}
	}
	return true
}

// HasAny tells whether any transaction that other names is in the set.
func (g *GTIDs) HasAny(other *GTIDs) bool {
	if g.set == nil {
		for domain, o := range other.domains {
			if g.domains[domain].Sequence >= o.Sequence {
				return true
			}
		}
		return false
	}
	for server, tags := range *other.set {
		for tag, wanted := range tags {
			for _, w := range wanted {
				for _, have := range (*g.set)[server][tag] {
					if w.Start < have.Stop && have.Start < w.Stop {
						return true
					}
				}
			}
		}
	}
	return false
}

// HasOne tells whether a transaction is in the set; an empty GTID is in none.
func (g *GTIDs) HasOne(gtid string) bool {
	if gtid == "" {
		return false
	}
	one, err := ParseGTIDs(g.set == nil, gtid)
	return err == nil && g.Has(one)
}

// Names tells whether the set names the transaction: for a position of MariaDB, whether it is the last of its domain.
func (g *GTIDs) Names(gtid string) bool {
	if g.set != nil {
		return g.HasOne(gtid)
	}
	one, err := ParseMariaGTID(gtid)
	return err == nil && g.domains[one.Domain] == one
}

// Empty tells whether there is no transaction in it.
func (g *GTIDs) Empty() bool {
	if g.set != nil {
		return g.set.IsEmpty()
	}
	return len(g.domains) == 0
}

// Clone is a copy.
func (g *GTIDs) Clone() *GTIDs {
	if g.set != nil {
		return &GTIDs{set: g.set.Clone().(*mysql.MysqlGTIDSet)}
	}
	return &GTIDs{domains: maps.Clone(g.domains)}
}

func (g *GTIDs) String() string {
	if g.set != nil {
		return g.set.String()
	}
	all := slices.SortedFunc(maps.Values(g.domains), func(a, b MariaGTID) int { return cmp.Compare(a.Domain, b.Domain) })
	words := make([]string, len(all))
	for i, one := range all {
		words[i] = one.String()
	}
	return strings.Join(words, ",")
}
