package dump

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
)

// warnOfFloats tells the tables whose FLOAT columns will be rounded. The tools write what the server prints, which is six digits; no option
// of theirs changes that.
func warnOfFloats(ctx context.Context, src Source, p *plan, live bool) error {
	whole := "point"
	if live {
		whole = "server"
	}
	rows, err := schema.Ask(ctx, src.DB, "SELECT TABLE_SCHEMA AS db, TABLE_NAME AS tab, COLUMN_NAME AS name, COLUMN_TYPE AS type "+
		"FROM information_schema.COLUMNS WHERE DATA_TYPE = 'float' AND EXTRA NOT LIKE '% GENERATED%' ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION")
	if err != nil {
		return err
	}
	columns := map[schema.Name][]string{}
	for _, r := range rows {
		n := schema.Name{Database: r["db"], Table: r["tab"]}
		if (schema.Column{Data: "float", Type: r["type"]}).Rounds() {
			columns[n] = append(columns[n], r["name"])
		}
	}
	for _, t := range p.tasks {
		if names := columns[t.table.FullName()]; t.part == dumpfile.Rows && len(names) > 0 {
			p.warnings = append(p.warnings, fmt.Sprintf("the server's dump tool writes FLOAT columns of %s with six digits (%s): 16777216 becomes 1.67772e+07; "+
				"the %s has all digits", t.table.FullName(), strings.Join(names, ", "), whole))
		}
	}
	return nil
}
