package pitr

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/restore"
)

// sleeping lists the scheduled events that wait for their source to run them.
func (r *replay) sleeping(ctx context.Context) ([]string, error) {
	rows, err := restore.Rows(ctx, r.db, "SELECT CONCAT('`', EVENT_SCHEMA, '`.`', EVENT_NAME, '`') AS name FROM information_schema.EVENTS WHERE STATUS LIKE '%SIDE_DISABLED' ORDER BY 1")
	if err != nil {
		return nil, fmt.Errorf("cannot list the scheduled events: %w", err)
	}
	var out []string
	for _, row := range rows {
		out = append(out, row["name"])
	}
	return out, nil
}

// tellSleeping warns of the events that an applier disables, as only a source runs them. Whether its source ran one or had it disabled, the
// applier does not keep, so a person has to say.
func (r *replay) tellSleeping(ctx context.Context) error {
	after, err := r.sleeping(ctx)
	if err != nil {
		return err
	}
	after = slices.DeleteFunc(after, func(name string) bool { return slices.Contains(r.asleep, name) })
	if len(after) > 0 {
		r.job.Warn("scheduled events that were made or altered on the way are disabled, as on a replica: %s; where they shall run, type: ALTER EVENT NAME ENABLE", strings.Join(after, ", "))
	}
	return nil
}
