package binlog

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Question says which transactions are looked for; what is left empty does not matter.
type Question struct {
	Database string // and Table: what it touches
	Table    string // empty: any of the database
	Kinds    []Kind // one of them
	Since    time.Time
	Until    time.Time
	GTIDs    *GTIDs
	Thread   uint32
	Rows     int // more than these are touched; of the table, if one is given

	names *regexp.Regexp
}

// kind tells whether it is one that is asked for. A definition is also a drop or a truncation.
func (q *Question) kind(k Kind) bool {
	return len(q.Kinds) == 0 || slices.Contains(q.Kinds, k) || (k == Drop || k == Truncate) && slices.Contains(q.Kinds, DDL)
}

func (q *Question) table(name string) bool {
	if q.Database == "" {
		return true
	}
	database, table, _ := strings.Cut(name, ".")
	return strings.EqualFold(database, q.Database) && (q.Table == "" || strings.EqualFold(table, q.Table))
}

// may tells whether there can be an answer in a block.
func (q *Question) may(b Block) bool {
	if !q.Since.IsZero() && b.Last.Before(q.Since) || !q.Until.IsZero() && b.First.After(q.Until) || b.Most <= q.Rows && q.Rows > 0 {
		return false
	}
	for name, t := range b.Tables {
		if q.table(name) && slices.ContainsFunc(t, q.kind) {
			return true
		}
	}
	return q.Rows == 0 && slices.ContainsFunc(b.Stated, q.kind) || len(b.Tables) == 0 && len(b.Stated) == 0 && q.any()
}

// any tells whether nothing is asked of what a transaction does.
func (q *Question) any() bool { return q.Database == "" && len(q.Kinds) == 0 && q.Rows == 0 }

// Answers tells whether a transaction is one of those.
func (q *Question) Answers(d *Detail) bool {
	switch {
	case !q.Since.IsZero() && d.Time.Before(q.Since), !q.Until.IsZero() && d.Time.After(q.Until):
		return false
	case q.Thread != 0 && d.Thread != q.Thread, q.GTIDs != nil && (d.GTID == "" || !q.GTIDs.Names(d.GTID)):
		return false
	}
	rows, touched := 0, q.any()
	for _, deed := range d.Deeds {
		if q.table(deed.Table) && q.kind(deed.Kind) {
			touched = true
			rows += deed.Rows
		}
	}
	if q.Rows > 0 {
		return rows > q.Rows
	}
	return touched || slices.ContainsFunc(d.Statements, q.stated)
}

// dropsDatabase is a statement that drops all tables of a database.
var dropsDatabase = regexp.MustCompile("(?i)^DROP\\s+(?:DATABASE|SCHEMA)\\s+(?:IF\\s+EXISTS\\s+)?`?([^`\\s]+)`?")

// stated tells whether a statement is one that is asked for: of its tables only its text tells, where a name may also be something else's.
func (q *Question) stated(s Stated) bool {
	if !q.kind(s.Kind) {
		return false
	}
	if q.Database == "" {
		return true
	}
	if q.names == nil {
		name := q.Table
		if name == "" {
			name = q.Database
		}
		q.names = regexp.MustCompile("(?i)(^|[^a-z0-9_$])" + regexp.QuoteMeta(name) + "($|[^a-z0-9_$])")
	}
	if dropsDatabase.MatchString(s.Text) && strings.EqualFold(dropsDatabase.FindStringSubmatch(s.Text)[1], q.Database) {
		return true
	}
	inside := strings.EqualFold(s.Database, q.Database)
	if q.Table == "" && inside {
		return true
	}
	return q.names.MatchString(s.Text) && (inside || strings.Contains(strings.ToLower(s.Text), strings.ToLower(q.Database)))
}
