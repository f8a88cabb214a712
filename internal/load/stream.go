package load

import (
	"context"
	"database/sql"
	"fmt"
	"io"

	"github.com/holdstill/holdstill/internal/schema"
)

// Streamed is a table's dump that is loaded as it is written.
type Streamed struct {
	In      io.Reader
	From    schema.Name // on the server that is dumped
	Product string      // of that server
	Schema  string      // where the table is made
	As      string      // under this name, without foreign keys and triggers
	Bytes   int64       // of the table, estimated
	// LocalOnly keeps it out of the binary log.
	LocalOnly bool
	Unnamed   []string                    // checks whose names are taken
	Sequences map[schema.Name]schema.Name // those that have another name here
}

// Stream loads one table from a dump that the server's own tool writes now. Held is what the server that gets it holds.
func Stream(ctx context.Context, db *sql.DB, held *schema.Server, s Streamed) (*Loaded, error) {
	translate, err := translationFor(s.Product, held)
	if err != nil {
		return nil, err
	}
	t := &text{in: s.In, from: s.From, into: s.Schema, as: s.As, bytes: s.Bytes, local: s.LocalOnly, translate: translate, unnamed: s.Unnamed, sequences: s.Sequences}
	out, err := t.load(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("cannot load %s: %w", s.From, err)
	}
	return out, nil
}

// Same compares what two servers say of one table's content: an error tells the difference, the text what was compared.
func Same(n schema.Name, want, got schema.Sum, otherProduct bool) (string, error) {
	checked := &table{from: n, rows: want.Rows, sum: &want}
	return compare(checked, want.Rows, got, otherProduct)
}
