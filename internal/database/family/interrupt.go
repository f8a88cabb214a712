package family

import (
	"context"
	"fmt"
)

// interruptible runs a statement that may wait. When ctx ends the statement is killed over another connection: closing its
// own would leave it waiting in the server, and others behind it.
func interruptible(ctx context.Context, p *pin, statement string, interrupt func()) error {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-ctx.Done():
			interrupt()
		case <-done:
		}
	}()
	_, err := p.ExecContext(context.WithoutCancel(ctx), statement)
	close(done)
	<-ended
	if err != nil {
		return fmt.Errorf("cannot run %q: %w", statement, err)
	}
	return ctx.Err()
}

func (s *Server) interruptible(ctx context.Context, p *pin, statement string) error {
	return interruptible(ctx, p, statement, func() {
		_, _ = s.db.ExecContext(context.Background(), fmt.Sprintf("KILL QUERY %d", p.id))
	})
}
