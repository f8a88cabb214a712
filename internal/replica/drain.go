package replica

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/restore"
)

// drain applies what the copied relay logs of a channel hold; the receiver will go on from exactly there.
//
// Where the receiver stood cannot be trusted: it ran while the point was cut, and it notes its position apart from the relay
// log (in a table only every 10000 events), so it would fetch again what is there already, and the applier would meet rows twice.
// What the applier executed is exact. By GTID none of this matters: the servers skip, or fetch again, by themselves.
//
// It is done as the original: a server knows the head of a relay log of its own by its server_id, and one with a new id
// would take the position in that head (256) for one of its source.
func (m *making) drain(ctx context.Context, db *sql.DB, c *Channel) error {
	say := speak(m.Restore.Server.Product, m.Restore.Server.Version)
	name := say.named(c.Name)
	if _, err := db.ExecContext(ctx, fmt.Sprintf(say.startApplier, name)); err != nil {
		return fmt.Errorf("cannot apply the relay logs that were copied: %w", err)
	}
	if err := m.drained(ctx, db, c); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, fmt.Sprintf(say.stopApplier, name)); err != nil {
		return fmt.Errorf("cannot stop the applier: %w", err)
	}
	// stopped, it has rolled a transaction back whose end had not been received, and tells where that begins
	at, err := m.channel(ctx, db, c)
	if err != nil {
		return err
	}
	if before(at, c) {
		return fmt.Errorf("the applier went back, from %s:%d to %s:%d of %s", c.File, c.Offset, at.file, at.pos, c.Address())
	}
	c.File, c.Offset = at.file, at.pos
	m.job.Verified("the relay logs that were copied are applied, up to %s:%d of %s", at.file, at.pos, c.Address())
	return nil
}

func before(at status, c *Channel) bool {
	return at.file == c.File && at.pos < c.Offset || at.file == ""
}

// drained waits until the applier has read everything, or has stopped at an event that was cut in two: the rest is fetched anew.
func (m *making) drained(ctx context.Context, db *sql.DB, c *Channel) error {
	ctx, cancel := context.WithTimeout(ctx, m.Request.CatchUp)
	defer cancel()
	for {
		s, err := m.channel(ctx, db, c)
		if err != nil {
			return err
		}
		m.tell(s)
		if strings.Contains(s.applierState, "has read all relay log") || s.applier == "No" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot apply the relay logs that were copied: %w: %s", ctx.Err(), s.describe())
		case <-time.After(lookEvery):
		}
	}
}

func (m *making) channel(ctx context.Context, db *sql.DB, c *Channel) (status, error) {
	rows, err := restore.ReplicaStatus(ctx, db, m.Restore.Server)
	if err != nil {
		return status{}, fmt.Errorf("cannot read the replication state: %w", err)
	}
	row, ok := rows[c.Name]
	if !ok {
		return status{}, fmt.Errorf("the new replica does not know the channel %q", c.Name)
	}
	return readStatus(row), nil
}
