package archive

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/uuid"
)

// history follows which transactions are whole in a log: a GTID stands before its transaction, and counts only when that has ended.
type history struct {
	done   *gtids
	commit func() // counts the transaction that is under way; nil: none is
	inside bool   // it has begun, and ends with a commit or a rollback; else its next statement is all of it
}

// event takes note of one.
func (h *history) event(head header, body []byte) error {
	switch head.kind {
	case replication.GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT, replication.MARIADB_GTID_EVENT:
		h.end() // of one whose end we did not know
		return h.begin(head, body)
	case replication.XID_EVENT, replication.XA_PREPARE_LOG_EVENT, replication.TRANSACTION_PAYLOAD_EVENT,
		replication.ROTATE_EVENT, replication.STOP_EVENT: // transactions do not span files
		h.end()
	case replication.MARIADB_QUERY_COMPRESSED_EVENT: // never as short as COMMIT
		if !h.inside {
			h.end()
		}
	case replication.QUERY_EVENT:
		if bytes.HasSuffix(body, []byte("START TRANSACTION")) { // a CREATE TABLE .. SELECT of MySQL 8.0.21 or newer: rows and a commit follow
			h.inside = true
			return nil
		}
		h.statement(statementOf(body))
	}
	return nil
}

func (h *history) statement(text string) {
	switch {
	case text == "BEGIN" || strings.HasPrefix(text, "XA START"):
		h.inside = true
	case !h.inside || text == "COMMIT" || text == "ROLLBACK" || strings.HasPrefix(text, "XA COMMIT") || strings.HasPrefix(text, "XA ROLLBACK"):
		h.end()
	}
}

func (h *history) end() {
	if h.commit != nil {
		h.commit()
	}
	h.commit, h.inside = nil, false
}

func (h *history) begin(head header, body []byte) error {
	switch head.kind {
	case replication.MARIADB_GTID_EVENT:
		e := &replication.MariadbGTIDEvent{}
		if err := decode(e, body); err != nil {
			return err
		}
		e.GTID.ServerID = head.server
		h.commit, h.inside = func() { h.done.move(e.GTID) }, !e.IsStandalone()
	case replication.GTID_TAGGED_LOG_EVENT:
		e := &replication.GtidTaggedLogEvent{}
		if err := decode(e, body); err != nil {
			return err
		}
		return h.beginMySQL(e.SID, e.Tag, e.GNO)
	default:
		if len(body) < 25 {
			return errDamaged
		}
		return h.beginMySQL(body[1:17], mysql.Tag{}, int64(binary.LittleEndian.Uint64(body[17:])))
	}
	return nil
}

func (h *history) beginMySQL(sid []byte, tag mysql.Tag, number int64) error {
	origin, err := uuid.FromBytes(sid)
	if err != nil {
		return err
	}
	h.commit = func() { h.done.add(origin, tag, number) }
	return nil
}

// statementOf is the text of a query event; of a long one, its beginning.
func statementOf(body []byte) string {
	const fixed, long = 13, 64 // thread, time, length of the schema, error, length of the variables
	if len(body) < fixed {
		return ""
	}
	at := fixed + int(binary.LittleEndian.Uint16(body[11:])) + int(body[8]) + 1
	if at > len(body) {
		return ""
	}
	return string(body[at:min(len(body), at+long)])
}
