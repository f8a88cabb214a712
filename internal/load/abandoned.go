package load

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/holdstill/holdstill/internal/schema"
)

// Abandoned tells of the landings on a server that no load works on. They are in no ledger, since the next attempt goes on with them; so they stay
// when there is none.
func Abandoned(ctx context.Context, db *sql.DB) (warnings []string, err error) {
	rows, err := schema.Ask(ctx, db, "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA WHERE LEFT(SCHEMA_NAME, ?) = ? AND IS_USED_LOCK(SCHEMA_NAME) IS NULL",
		len(landingPrefix), landingPrefix)
	if err != nil {
		return nil, fmt.Errorf("cannot look for loads that have not ended: %w", err)
	}
	for _, r := range rows {
		warnings = append(warnings, unended(r["name"])+": DROP DATABASE "+schema.Quote(r["name"]))
	}
	return warnings, nil
}

func unended(landing string) string {
	return fmt.Sprintf("the schema %s is of a load that has not ended: its own command goes on with it; if it was given up, drop the schema", landing)
}
