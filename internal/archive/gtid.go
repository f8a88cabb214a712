package archive

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/uuid"
)

// gtids is what was executed, of either product. The zero value is that of a server without GTIDs.
type gtids struct {
	sets    mysql.MysqlGTIDSet
	domains map[uint32]mysql.MariadbGTID
	run     mysqlRun // of sets, not yet in it: adding one by one is slow
}

// mysqlRun are successive transactions of one origin.
type mysqlRun struct {
	origin      uuid.UUID
	tag         mysql.Tag
	first, next int64
}

// parseGTIDs reads what String wrote, or a server.
func parseGTIDs(text string) (*gtids, error) {
	g := &gtids{}
	text = strings.NewReplacer("\n", "", " ", "").Replace(text)
	switch {
	case text == "":
	case strings.Contains(text, ":"):
		set, err := mysql.ParseMysqlGTIDSet(text)
		if err != nil {
			return nil, fmt.Errorf("cannot read the GTIDs %q: %w", text, err)
		}
		g.sets = *set.(*mysql.MysqlGTIDSet)
	default:
		for word := range strings.SplitSeq(text, ",") {
			one, err := mysql.ParseMariadbGTID(word)
			if err != nil {
				return nil, fmt.Errorf("cannot read the GTIDs %q: %w", text, err)
			}
			g.move(*one)
		}
	}
	return g, nil
}

func (g *gtids) String() string {
	g.flush()
	if len(g.domains) > 0 {
		var words []string
		for _, one := range slices.SortedFunc(mapValues(g.domains), func(a, b mysql.MariadbGTID) int { return cmp.Compare(a.DomainID, b.DomainID) }) {
			words = append(words, one.String())
		}
		return strings.Join(words, ",")
	}
	return g.sets.String()
}

func mapValues[K comparable, V any](m map[K]V) func(func(V) bool) {
	return func(yield func(V) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// move is a domain's next transaction; the later one counts, whatever its number.
func (g *gtids) move(one mysql.MariadbGTID) {
	if g.domains == nil {
		g.domains = map[uint32]mysql.MariadbGTID{}
	}
	g.domains[one.DomainID] = one
}

func (g *gtids) add(origin uuid.UUID, tag mysql.Tag, number int64) {
	if r := &g.run; r.origin == origin && r.tag == tag && r.next == number {
		r.next++
		return
	}
	g.flush()
	g.run = mysqlRun{origin, tag, number, number + 1}
}

func (g *gtids) flush() {
	r := g.run
	if r.next == r.first {
		return
	}
	if g.sets == nil {
		g.sets = mysql.NewMysqlGTIDSet()
	}
	if g.sets[r.origin] == nil {
		g.sets[r.origin] = map[mysql.Tag]mysql.IntervalSlice{}
	}
	g.sets[r.origin][r.tag] = append(g.sets[r.origin][r.tag], mysql.Interval{Start: r.first, Stop: r.next}).Normalize()
	g.run = mysqlRun{}
}

// lacks is what is in all and not in g, as text; "" if g has it all.
func (g *gtids) lacks(all *gtids) string {
	g.flush()
	all.flush()
	if len(all.domains) > 0 {
		return g.lacksDomains(all)
	}
	out := mysql.NewMysqlGTIDSet()
	for origin, tags := range all.sets {
		for tag, wanted := range tags {
			if rest := without(wanted, g.sets[origin][tag]); len(rest) > 0 {
				if out[origin] == nil {
					out[origin] = map[mysql.Tag]mysql.IntervalSlice{}
				}
				out[origin][tag] = rest
			}
		}
	}
	return out.String()
}

// lacksDomains names the first and the last that is missing of each domain.
func (g *gtids) lacksDomains(all *gtids) string {
	var words []string
	for _, one := range slices.SortedFunc(mapValues(all.domains), func(a, b mysql.MariadbGTID) int { return cmp.Compare(a.DomainID, b.DomainID) }) {
		have := g.domains[one.DomainID].SequenceNumber
		switch {
		case one.SequenceNumber == have+1:
			words = append(words, one.String())
		case one.SequenceNumber > have:
			words = append(words, fmt.Sprintf("%d-%d-%d..%d", one.DomainID, one.ServerID, have+1, one.SequenceNumber))
		}
	}
	return strings.Join(words, ",")
}

// origins are the last numbers of MariaDB's domains, of each server that wrote in one.
type origins map[origin]uint64

type origin struct{ domain, server uint32 }

// parseOrigins reads a gtid_binlog_state.
func parseOrigins(text string) (origins, error) {
	out := origins{}
	if text == "" {
		return out, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		one, err := mysql.ParseMariadbGTID(strings.TrimSpace(word))
		if err != nil {
			return nil, fmt.Errorf("cannot read the GTIDs %q: %w", text, err)
		}
		at := origin{one.DomainID, one.ServerID}
		out[at] = max(out[at], one.SequenceNumber)
	}
	return out, nil
}

// lacks names the last of each server's in all that o does not reach; "" if it has them all.
func (o origins) lacks(all origins) string {
	var words []string
	for at, number := range all {
		if number > o[at] {
			words = append(words, fmt.Sprintf("%d-%d-%d", at.domain, at.server, number))
		}
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}

// without is a less b; both are in order and without overlap.
func without(a, b mysql.IntervalSlice) mysql.IntervalSlice {
	var out mysql.IntervalSlice
	for _, wanted := range a {
		at := wanted.Start
		for _, have := range b {
			if have.Stop <= at || have.Start >= wanted.Stop {
				continue
			}
			if have.Start > at {
				out = append(out, mysql.Interval{Start: at, Stop: have.Start})
			}
			at = have.Stop
		}
		if at < wanted.Stop {
			out = append(out, mysql.Interval{Start: at, Stop: wanted.Stop})
		}
	}
	return out
}

// missing is what is in want and not in have; both are texts of a description.
func missing(want, have string) (string, error) {
	all, err := parseGTIDs(want)
	if err != nil {
		return "", err
	}
	g, err := parseGTIDs(have)
	if err != nil {
		return "", err
	}
	return g.lacks(all), nil
}

// listed reads the event that begins a log of a server with GTIDs: what was executed before.
func listed(kind replication.EventType, body []byte) (*gtids, error) {
	g := &gtids{}
	switch kind {
	case replication.PREVIOUS_GTIDS_EVENT:
		set, err := mysql.DecodeMysqlGTIDSet(body)
		if err != nil {
			return nil, fmt.Errorf("cannot read Previous_gtids: %w", err)
		}
		g.sets = *set
	case replication.MARIADB_GTID_LIST_EVENT:
		list := &replication.MariadbGTIDListEvent{}
		if err := decode(list, body); err != nil {
			return nil, fmt.Errorf("cannot read Gtid_list: %w", err)
		}
		for _, one := range list.GTIDs { // the last of a domain stands last
			g.move(one)
		}
	}
	return g, nil
}
