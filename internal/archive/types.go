package archive

import "time"

// Server is whose binary log it is.
type Server struct {
	Product string `json:"product"` // mysql or mariadb
	Version string `json:"version"`
	UUID    string `json:"uuid,omitempty"` // "" on MariaDB, which has none
	ID      uint32 `json:"server_id"`
}

// Log is one binary log file, as far as it is archived.
type Log struct {
	Seq    int    `json:"seq"` // place in the archive, from 1: a later log has a larger one
	Server Server `json:"server"`
	Name   string `json:"name"` // as on the server, binlog.000012
	// Head is the SHA-256, in hex, over the first events (the format description with the in-use flag cleared, and the next one). It tells
	// a log from another one of the same name, after a RESET or on a server that was rebuilt.
	Head string `json:"head"`
	// Size are the bytes that are archived, verified and synced: a prefix of the server's file that ends with a whole event.
	Size   int64 `json:"size"`
	Closed bool  `json:"closed"` // the server writes no more to it

	First time.Time `json:"first"` // of the first event
	Last  time.Time `json:"last"`  // of the last one

	// GTIDBefore and GTIDAfter are what was executed before its first, and after its last whole transaction that is archived. MySQL:
	// Previous_gtids, and that with its own; MariaDB: the last of each domain in Gtid_list, and that moved on. "" if the server has none.
	GTIDBefore string `json:"gtid_before"`
	GTIDAfter  string `json:"gtid_after"`

	Gap       *Gap `json:"gap,omitempty"` // nil: it follows directly on the log before it
	Encrypted bool `json:"encrypted"`     // the server's file is encrypted, by MariaDB: ours is what it decrypts to

	// Fills is the Head of the log before which there was a gap, if this one was read later, from another server, to fill it.
	Fills string `json:"fills,omitempty"`
}

// Gap is what may be missing between a log and the one before it in the archive: a replay does not go across.
type Gap struct {
	Reason  string    `json:"reason"`
	From    string    `json:"from"`            // FILE:POS where the archive ends
	To      string    `json:"to"`              // FILE:POS where it begins again
	GTIDs   string    `json:"gtids,omitempty"` // that are missing, where they are known
	After   time.Time `json:"after"`           // the last event before it
	Until   time.Time `json:"until"`           // the first event behind it
	FoundAt time.Time `json:"found_at"`
}
