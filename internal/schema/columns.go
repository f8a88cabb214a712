package schema

import (
	"context"
	"strings"
)

// Column is one column of a table.
type Column struct {
	Name      string
	Data      string // the type's word, lower case: "varchar"
	Type      string // the whole type: "varchar(20)"
	Charset   string // "" where it is no text
	Collation string
	Null      bool
	Generated bool   // its value is computed
	Stored    bool   // it is computed, and kept
	Extra     string // as the server spells it: auto_increment, INVISIBLE, ...
	Key       string // PRI, UNI, MUL or ""
}

// Rounds tells a FLOAT, which servers print with six digits though it has up to nine; not FLOAT(M,D), which is printed whole.
func (c Column) Rounds() bool {
	return c.Data == "float" && !strings.HasPrefix(strings.ToLower(c.Type), "float(")
}

// Columns reads the columns of a table or view, in their order, the invisible ones too.
func Columns(ctx context.Context, q Querier, n Name) ([]Column, error) {
	rows, err := Ask(ctx, q, "SELECT COLUMN_NAME AS name, DATA_TYPE AS data, COLUMN_TYPE AS type, CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation, "+
		"IS_NULLABLE AS nullable, EXTRA AS extra, COLUMN_KEY AS ckey FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? "+
		"ORDER BY ORDINAL_POSITION", n.Database, n.Table)
	var out []Column
	for _, r := range rows {
		extra := strings.ToUpper(r["extra"])
		stored := strings.Contains(extra, "STORED GENERATED") || strings.Contains(extra, "PERSISTENT")
		out = append(out, Column{
			Name: r["name"], Data: strings.ToLower(r["data"]), Type: r["type"], Charset: r["charset"], Collation: r["collation"],
			Null: r["nullable"] == "YES", Extra: r["extra"], Key: r["ckey"],
			Generated: stored || strings.Contains(extra, "VIRTUAL GENERATED"), Stored: stored,
		})
	}
	return out, err
}

// Index is one index of a table.
type Index struct {
	Name    string
	Type    string // BTREE, HASH, RTREE, SPATIAL, FULLTEXT
	Unique  bool
	Columns []string // "" where it is over an expression
}

// Indexes reads the indexes of a table.
func Indexes(ctx context.Context, q Querier, n Name) ([]Index, error) {
	rows, err := Ask(ctx, q, "SELECT INDEX_NAME AS name, INDEX_TYPE AS type, NON_UNIQUE AS many, COLUMN_NAME AS col FROM information_schema.STATISTICS "+
		"WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY INDEX_NAME, SEQ_IN_INDEX", n.Database, n.Table)
	var out []Index
	for _, r := range rows {
		if len(out) == 0 || out[len(out)-1].Name != r["name"] {
			out = append(out, Index{Name: r["name"], Type: r["type"], Unique: r["many"] == "0"})
		}
		last := &out[len(out)-1]
		last.Columns = append(last.Columns, r["col"])
	}
	return out, err
}

// ForeignKey is a reference from one table to another.
type ForeignKey struct {
	Name     string
	From, To Name
	OnUpdate string
	OnDelete string
}

// ForeignKeys reads all references of a server's own tables. The server hides those that the account may not see.
func ForeignKeys(ctx context.Context, q Querier) ([]ForeignKey, error) {
	rows, err := Ask(ctx, q, "SELECT CONSTRAINT_SCHEMA AS db, CONSTRAINT_NAME AS name, TABLE_NAME AS tab, UNIQUE_CONSTRAINT_SCHEMA AS todb, "+
		"REFERENCED_TABLE_NAME AS totab, UPDATE_RULE AS up, DELETE_RULE AS del FROM information_schema.REFERENTIAL_CONSTRAINTS "+
		"ORDER BY CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME")
	var out []ForeignKey
	for _, r := range rows {
		out = append(out, ForeignKey{Name: r["name"], From: Name{r["db"], r["tab"]}, To: Name{r["todb"], r["totab"]}, OnUpdate: r["up"], OnDelete: r["del"]})
	}
	return out, err
}
