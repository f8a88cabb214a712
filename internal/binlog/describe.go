package binlog

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-mysql-org/go-mysql/replication"
)

// Kind is what a transaction does to a table.
type Kind string

// The kinds. A statement is one that was logged as text; the tables that it changes are those that its text names.
const (
	Insert    Kind = "insert"
	Update    Kind = "update"
	Delete    Kind = "delete"
	Drop      Kind = "drop"
	Truncate  Kind = "truncate"
	DDL       Kind = "ddl" // any other definition; a question for ddl means drop and truncate, too
	Statement Kind = "statement"
)

// Kinds are all of them.
var Kinds = []Kind{Insert, Update, Delete, Drop, Truncate, DDL, Statement}

// Deed is what a transaction does to one table by rows.
type Deed struct {
	Table string `json:"table"` // DATABASE.TABLE
	Kind  Kind   `json:"kind"`
	Rows  int    `json:"rows"`
}

// Detail is a transaction with what it does.
type Detail struct {
	Transaction
	Thread     uint32   `json:"thread,omitempty"` // the connection that made it, on the server where it was made
	Deeds      []Deed   `json:"rows,omitempty"`
	Statements []Stated `json:"statements,omitempty"`
	// XA tells that it is a part of a distributed transaction: its work, or what was decided of it.
	XA bool `json:"xa,omitempty"`
}

// Stated is a statement that is logged as text.
type Stated struct {
	Database string `json:"database,omitempty"` // the default one
	Kind     Kind   `json:"kind"`
	Text     string `json:"text"` // its beginning
}

// Rows is the number of rows that the transaction touches.
func (d *Detail) Rows() (n int) {
	for _, deed := range d.Deeds {
		n += deed.Rows
	}
	return n
}

// textMax is how much of a statement is kept, in bytes, and statedMax how many of a transaction.
const textMax, statedMax = 4096, 1000

// Describe calls fn for each transaction of a file, with what it does. The detail is the caller's to keep.
func Describe(r io.Reader, fn func(Detail) error) error {
	return describe(r, replication.NewBinlogParser(), fn)
}

// Touched is Describe without the numbers of rows, which are 0: the rows are not decoded, so it is several times faster.
func Touched(r io.Reader, fn func(Detail) error) error {
	parser := replication.NewBinlogParser()
	parser.SetRowsEventDecodeFunc(func(e *replication.RowsEvent, data []byte) error {
		_, err := e.DecodeHeader(data)
		return err
	})
	return describe(r, parser, fn)
}

func describe(r io.Reader, parser *replication.BinlogParser, fn func(Detail) error) error {
	d := &describer{parser: parser}
	d.parser.SetFlavor("mysql")
	return Scan(r, func(e Event) error {
		if e.Header.EventType == replication.MARIADB_GTID_LIST_EVENT {
			d.parser.SetFlavor("mariadb")
		}
		if err := d.look(e); err != nil {
			return err
		}
		done, err := d.group.Add(e)
		if err != nil || done == nil {
			return err
		}
		d.now.Transaction = *done
		out := d.now
		d.now = Detail{}
		return fn(out)
	})
}

type describer struct {
	parser *replication.BinlogParser
	group  Grouper
	now    Detail
}

// look decodes an event that tells what is done.
func (d *describer) look(e Event) (err error) {
	switch e.Header.EventType {
	case replication.XID_EVENT, replication.GTID_EVENT, replication.ANONYMOUS_GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT, replication.MARIADB_GTID_EVENT,
		replication.ROWS_QUERY_EVENT, replication.MARIADB_ANNOTATE_ROWS_EVENT, replication.APPEND_BLOCK_EVENT, replication.BEGIN_LOAD_QUERY_EVENT:
		return nil
	}
	defer func() {
		if p := recover(); p != nil { // the library relies on what it reads
			err = &DamagedError{e.Start, fmt.Errorf("an event %s that cannot be decoded: %v", e.Header.EventType, p)}
		}
	}()
	parsed, err := d.parser.Parse(slices.Clone(e.Raw))
	if err != nil {
		return &DamagedError{e.Start, err}
	}
	d.note(parsed)
	return nil
}

func (d *describer) note(e *replication.BinlogEvent) {
	switch body := e.Event.(type) {
	case *replication.RowsEvent:
		d.rows(body)
	case *replication.TransactionPayloadEvent:
		for _, inner := range body.Events {
			d.note(inner)
		}
	case *replication.QueryEvent:
		d.now.Thread = body.SlaveProxyID
		d.statement(string(body.Schema), string(body.Query))
	case *replication.ExecuteLoadQueryEvent:
		d.now.Thread = body.SlaveProxyID
		// the library leaves what follows its 26 bytes undecoded: status variables, database, zero, text
		rest := e.RawData[replication.EventHeaderSize+26+int(body.StatusVars):]
		database, text := rest[:body.SchemaLength], rest[int(body.SchemaLength)+1:]
		d.now.Statements = append(d.now.Statements, Stated{string(database), Statement, string(text[:min(len(text), textMax)])})
	}
}

func (d *describer) rows(e *replication.RowsEvent) {
	kind, n := Insert, len(e.Rows)
	switch e.Type() {
	case replication.EnumRowsEventTypeUpdate:
		kind, n = Update, n/2 // before and after
	case replication.EnumRowsEventTypeDelete:
		kind = Delete
	}
	table := string(e.Table.Schema) + "." + string(e.Table.Table)
	for i := range d.now.Deeds {
		if deed := &d.now.Deeds[i]; deed.Table == table && deed.Kind == kind {
			deed.Rows += n
			return
		}
	}
	d.now.Deeds = append(d.now.Deeds, Deed{table, kind, n})
}

// statement notes a statement, but for those that only frame others.
func (d *describer) statement(database, text string) {
	text = uncommented(text)
	words := strings.Fields(strings.ToUpper(text[:min(len(text), 200)]))
	if len(words) == 0 {
		return
	}
	kind := Statement
	switch words[0] {
	case "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE":
		return
	case "XA":
		d.now.XA = true
		return
	case "DROP":
		kind = Drop
	case "TRUNCATE":
		kind = Truncate
	case "CREATE", "ALTER", "RENAME", "GRANT", "REVOKE", "SET", "ANALYZE", "OPTIMIZE", "REPAIR", "FLUSH":
		kind = DDL
	}
	if len(d.now.Statements) < statedMax {
		d.now.Statements = append(d.now.Statements, Stated{database, kind, text[:min(len(text), textMax)]})
	}
}

// uncommented leaves out the comments that clients put before a statement.
func uncommented(text string) string {
	for {
		text = strings.TrimSpace(text)
		if !strings.HasPrefix(text, "/*") || strings.HasPrefix(text, "/*!") {
			return text
		}
		_, rest, ended := strings.Cut(text, "*/")
		if !ended {
			return text
		}
		text = rest
	}
}
