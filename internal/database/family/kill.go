package family

import (
	"context"
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/database"
)

type execer interface {
	querier
}

// killAndWait kills a connection and waits until the server's list no longer has it.
func killAndWait(ctx context.Context, q execer, id uint64) error {
	for {
		rows, err := query(ctx, q, fmt.Sprintf("SELECT ID FROM information_schema.PROCESSLIST WHERE ID = %d", id))
		if err != nil {
			return fmt.Errorf("cannot make sure that connection %d is gone: %w", id, err)
		}
		if len(rows) == 0 {
			return nil
		}
		if _, err := query(ctx, q, fmt.Sprintf("KILL CONNECTION %d", id)); err != nil && number(err) != errNoThread {
			return fmt.Errorf("cannot kill connection %d: %w", id, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot make sure that connection %d is gone: %w", id, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Server) forget(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.own, id)
}

// client is how a person would call the client program for this server.
func client(e database.Endpoint) string {
	program := "mysql"
	if e.Product == database.MariaDB {
		program = "mariadb"
	}
	if e.OptionFile != "" {
		program += " --defaults-extra-file=" + shellQuote(e.OptionFile)
	}
	if e.Socket != "" {
		program += " --socket=" + shellQuote(e.Socket)
	} else {
		program += fmt.Sprintf(" --host=%s --port=%d", shellQuote(e.Host), e.Port)
	}
	return program + " --user=" + shellQuote(e.User)
}
