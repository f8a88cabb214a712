package family

import (
	"context"
	"fmt"
	"time"
)

// interruptible runs a statement that may wait. When ctx ends the statement is killed over another connection: closing its
// own would leave it waiting in the server, and others behind it. Only one that does not hear that loses its connection.
func interruptible(ctx context.Context, p *pin, statement string, interrupt func()) error {
	running, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-ctx.Done():
			interrupt()
		case <-done:
			return
		}
		select {
		case <-time.After(goneLimit):
			giveUp()
		case <-done:
		}
	}()
	_, err := p.ExecContext(running, statement)
	close(done)
	<-ended
	if err != nil {
		return fmt.Errorf("cannot run %q: %w", statement, err)
	}
	return ctx.Err()
}

func (s *Server) interruptible(ctx context.Context, p *pin, statement string) error {
	return interruptible(ctx, p, statement, func() {
		ctx, cancel := context.WithTimeout(context.Background(), goneLimit)
		defer cancel()
		_, _ = s.db.ExecContext(ctx, fmt.Sprintf("KILL QUERY %d", p.id))
	})
}
