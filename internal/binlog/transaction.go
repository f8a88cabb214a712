package binlog

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// Transaction is what a server commits at once: a group of events that is applied as a whole or not at all.
type Transaction struct {
	Start int64     `json:"start"` // offset of its first event
	End   int64     `json:"end"`   // offset after its last
	Time  time.Time `json:"time"`  // of the commit, on the server where it was made: from MySQL 8.0 on in microseconds; elsewhere in seconds, of when the statement began that committed
	GTID  string    `json:"gtid,omitempty"`
	// ServerID is the server where it was made.
	ServerID uint32 `json:"server_id"`
	// Stated tells that it changes rows by statements that are logged as text.
	Stated bool `json:"stated,omitempty"`
}

// Grouper puts events together to transactions.
type Grouper struct {
	open     bool // events of a transaction were seen, and its end was not
	explicit bool // it ends with a commit of its own, not with its first statement
	now      Transaction
}

// Open tells whether a transaction has begun and not ended, and where.
func (g *Grouper) Open() (start int64, open bool) { return g.now.Start, g.open }

// Add takes the next event, and returns the transaction that ends with it, if one does.
func (g *Grouper) Add(e Event) (*Transaction, error) {
	switch e.Header.EventType {
	case replication.FORMAT_DESCRIPTION_EVENT, replication.ROTATE_EVENT, replication.STOP_EVENT, replication.PREVIOUS_GTIDS_EVENT,
		replication.MARIADB_GTID_LIST_EVENT, replication.MARIADB_BINLOG_CHECKPOINT_EVENT, replication.MARIADB_START_ENCRYPTION_EVENT,
		replication.IGNORABLE_EVENT, replication.HEARTBEAT_EVENT, replication.HEARTBEAT_LOG_EVENT_V2, replication.VIEW_CHANGE_EVENT:
		return nil, nil // of the file
	case replication.GTID_EVENT, replication.ANONYMOUS_GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT, replication.MARIADB_GTID_EVENT:
		if g.open {
			return nil, &DamagedError{e.Start, fmt.Errorf("a transaction begins, and that at %d has not ended", g.now.Start)}
		}
		g.begin(e)
		return nil, g.identify(e)
	}
	if !g.open {
		g.begin(e) // a server without GTID events: MySQL 5.6
	}
	ends, err := g.ends(e)
	if err != nil || !ends {
		return nil, err
	}
	g.open = false
	out := g.now
	out.End = e.End
	if out.Time.IsZero() {
		out.Time = seconds(e)
	}
	return &out, nil
}

func seconds(e Event) time.Time { return time.Unix(int64(e.Header.Timestamp), 0).UTC() }

func (g *Grouper) begin(e Event) {
	g.open, g.explicit = true, false
	g.now = Transaction{Start: e.Start, ServerID: e.Header.ServerID}
}

// identify reads what a transaction begins with.
func (g *Grouper) identify(e Event) error {
	var gtid *replication.GTIDEvent
	switch e.Header.EventType {
	case replication.MARIADB_GTID_EVENT:
		m := &replication.MariadbGTIDEvent{}
		if err := decode(e, m); err != nil {
			return err
		}
		m.GTID.ServerID = e.Header.ServerID
		g.now.GTID = m.GTID.String()
		g.explicit = !m.IsStandalone()
		return nil
	case replication.GTID_TAGGED_LOG_EVENT:
		tagged := &replication.GtidTaggedLogEvent{}
		if err := decode(e, tagged); err != nil {
			return err
		}
		gtid = &tagged.GTIDEvent
	default:
		gtid = &replication.GTIDEvent{}
		if err := decode(e, gtid); err != nil {
			return err
		}
	}
	if gtid.OriginalCommitTimestamp > 0 {
		g.now.Time = gtid.OriginalCommitTime().UTC()
	}
	if e.Header.EventType == replication.ANONYMOUS_GTID_EVENT {
		return nil
	}
	set, err := gtid.GTIDNext()
	if err != nil {
		return &DamagedError{e.Start, err}
	}
	g.now.GTID = set.String()
	return nil
}

// ends tells whether the open transaction ends with the event.
func (g *Grouper) ends(e Event) (bool, error) {
	switch e.Header.EventType {
	case replication.XID_EVENT, replication.XA_PREPARE_LOG_EVENT, replication.TRANSACTION_PAYLOAD_EVENT, replication.INCIDENT_EVENT:
		return true, nil
	case replication.MARIADB_QUERY_COMPRESSED_EVENT, replication.EXECUTE_LOAD_QUERY_EVENT:
		g.now.Stated = true // neither BEGIN nor COMMIT is ever compressed
		return !g.explicit, nil
	case replication.QUERY_EVENT:
		q := &replication.QueryEvent{}
		if err := decode(e, q); err != nil {
			return false, err
		}
		return g.statement(string(q.Query)), nil
	}
	return false, nil
}

// notRows begin statements inside a transaction that change no rows; CREATE is that of a CREATE TABLE .. SELECT of MariaDB.
var notRows = []string{"SAVEPOINT", "ROLLBACK TO", "XA END", "CREATE"}

// statement tells whether a statement ends the open transaction.
func (g *Grouper) statement(text string) bool {
	switch {
	case text == "BEGIN", strings.HasPrefix(text, "XA START"), strings.HasSuffix(text, "START TRANSACTION"):
		// the last is a CREATE TABLE .. SELECT of MySQL 8.0.21 or newer: its rows and their commit follow
		g.explicit = true
		return false
	case text == "COMMIT", text == "ROLLBACK", strings.HasPrefix(text, "XA COMMIT"), strings.HasPrefix(text, "XA ROLLBACK"):
		return true
	case g.explicit && !slices.ContainsFunc(notRows, func(begin string) bool { return strings.HasPrefix(text, begin) }):
		g.now.Stated = true
	}
	return !g.explicit
}

// NextFile is the file that follows, where the event says so; "" where it does not.
func NextFile(e Event) (string, error) {
	if e.Header.EventType != replication.ROTATE_EVENT {
		return "", nil
	}
	r := &replication.RotateEvent{}
	if err := decode(e, r); err != nil {
		return "", err
	}
	return string(r.NextLogName), nil
}

// Executed is the set of GTIDs that a file says were executed before it; ok is false if the event does not say so. A MariaDB state has one GTID per
// domain and server, in that order of commit.
func Executed(e Event) (set string, ok bool, err error) {
	switch e.Header.EventType {
	case replication.PREVIOUS_GTIDS_EVENT:
		decoded, err := mysql.DecodeMysqlGTIDSet(e.Body)
		if err != nil {
			return "", false, &DamagedError{e.Start, err}
		}
		return decoded.String(), true, nil
	case replication.MARIADB_GTID_LIST_EVENT:
		list := &replication.MariadbGTIDListEvent{}
		if err := decode(e, list); err != nil {
			return "", false, err
		}
		var all []string
		for _, g := range list.GTIDs {
			all = append(all, fmt.Sprintf("%d-%d-%d", g.DomainID, g.ServerID, g.SequenceNumber))
		}
		return strings.Join(all, ","), true, nil
	}
	return "", false, nil
}
