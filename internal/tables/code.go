package tables

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// codeOf reads the views, routines and events of a database, in an order in which they can be made: views are made twice, as one may need
// another that comes later. The definers are kept.
func codeOf(ctx context.Context, db *sql.DB, d *schema.Database, target func(schema.Name) schema.Name) ([]swap.Code, error) {
	q, err := db.Conn(ctx) // one that is not used by others afterwards: it uses the database
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = q.Raw(func(any) error { return driver.ErrBadConn })
		_ = q.Close()
	}()
	to := target(schema.Name{Database: d.Name}).Database
	var out []swap.Code
	for _, r := range d.Routines {
		c, err := swap.ReadCode(ctx, q, r.Type, schema.Name{Database: d.Name, Table: r.Name}, to)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	var views []swap.Code
	for _, t := range d.Tables {
		if t.Kind != schema.View {
			continue
		}
		c, err := swap.ReadCode(ctx, q, "VIEW", t.FullName(), to)
		if err != nil {
			return nil, err
		}
		views = append(views, c)
	}
	out = append(out, views...)
	for _, e := range d.Events {
		c, err := swap.ReadCode(ctx, q, "EVENT", schema.Name{Database: d.Name, Table: e}, to)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}
