package replica

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/holdstill/holdstill/internal/restore"
)

// follow makes the server follow its sources and starts the threads.
func (m *making) follow(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("cannot reach the new replica: %w", err)
	}
	defer func() { _ = conn.Close() }()
	// A statement below can hold a password: it must not go to a log of statements, nor into the new binary log.
	_, _ = conn.ExecContext(ctx, "SET SESSION sql_log_off = 1")
	// literals below rely on the backslash as the escape
	if _, err := conn.ExecContext(ctx, "SET SESSION sql_mode = ''"); err != nil {
		return fmt.Errorf("cannot prepare to follow: %w", err)
	}
	server := m.Restore.Server
	say := speak(server.Product, server.Version)
	for _, c := range m.Channels {
		for _, s := range c.statements(server.Product, server.Version, m.Request.RelayLogs) {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("cannot follow %s: %s: %w", c.Address(), verb(s), err)
			}
		}
		if _, err := conn.ExecContext(ctx, fmt.Sprintf(say.start, say.named(c.Name))); err != nil {
			return fmt.Errorf("cannot start to follow %s: %w", c.Address(), err)
		}
	}
	if !isMariaDB(server.Product) {
		m.uuid, err = restore.Value(ctx, db, "SELECT @@GLOBAL.server_uuid")
		if err != nil {
			return err
		}
		if m.uuid == m.Request.Point.Server.ServerUUID {
			return errors.New("the copy still has the server_uuid of its original")
		}
		m.job.Verified("it has a server_uuid of its own, %s", m.uuid)
	}
	return m.checkID(ctx, db)
}

// verb is the beginning of a statement: the rest can hold a password.
func verb(statement string) string {
	words := strings.Fields(statement)
	return strings.Join(words[:min(2, len(words))], " ")
}

func (m *making) checkID(ctx context.Context, db *sql.DB) error {
	value, err := restore.Value(ctx, db, "SELECT @@GLOBAL.server_id")
	if err != nil {
		return err
	}
	if parseID(value) != m.ServerID {
		return fmt.Errorf("the new server has the server_id %s, not %d", value, m.ServerID)
	}
	return nil
}

// alone looks at the source once more, now that we are connected: nobody else may have our id, or have come with it meanwhile.
func (m *making) alone(ctx context.Context, c *Channel) error {
	id, err := ask(ctx, c)
	if err != nil || id.ListErr != nil {
		return nil //nolint:nilerr // warned before
	}
	same := 0
	for _, r := range id.Replicas {
		if r.ServerID == m.ServerID && (r.UUID == "" || r.UUID != m.uuid || m.uuid == "") {
			same++
		}
	}
	if m.uuid == "" && same <= 1 || m.uuid != "" && same == 0 {
		return nil
	}
	return &takenError{fmt.Errorf("another replica with the server_id %d came to %s at the same time", m.ServerID, c.Address())}
}
