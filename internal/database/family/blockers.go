package family

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/database"
)

// readersBackoff is the pause between two looks at the running statements.
const readersBackoff = 20 * time.Millisecond

// Blockers lists the statements that a hold would wait for, longest first.
func (s *Server) Blockers(ctx context.Context) ([]database.Statement, error) {
	return s.blockers(ctx, s.db)
}

func (s *Server) blockers(ctx context.Context, q querier) ([]database.Statement, error) {
	all, err := s.running(ctx, q)
	if err != nil {
		return nil, err
	}
	if s.say.ClosesTables {
		return all, nil // every statement with open tables; those without cannot be told apart and are short
	}
	loose, err := s.looseTables(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(st database.Statement) bool { return !blocksStages(st.Text, loose) }), nil
}

// running lists what users run now, and who holds explicit table locks.
func (s *Server) running(ctx context.Context, q querier) ([]database.Statement, error) {
	rows, err := s.processes(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the running statements: %w", err)
	}
	var out []database.Statement
	for _, r := range rows {
		id, err := strconv.ParseUint(r.first("id"), 10, 64)
		if err != nil || s.isOwn(id) || !byUser(r) {
			continue
		}
		out = append(out, database.Statement{
			ID: id, User: r.first("user"), State: r.first("state"), Text: abridge(r.first("info")), Running: age(r),
		})
	}
	slices.SortFunc(out, func(a, b database.Statement) int { return cmp.Compare(b.Running, a.Running) })
	return out, nil
}

// processes prefers the table that knows milliseconds; whoever may not read it gets seconds.
func (s *Server) processes(ctx context.Context, q querier) ([]Row, error) {
	if s.say.Running != "" {
		rows, err := query(ctx, q, s.say.Running)
		if err == nil {
			if s.say.TableLocks != "" {
				if locks, err := query(ctx, q, s.say.TableLocks); err == nil {
					rows = append(rows, locks...)
				}
			}
			return rows, nil
		}
		if number(err) == 0 {
			return nil, err
		}
	}
	return query(ctx, q, "SHOW FULL PROCESSLIST")
}

func byUser(r Row) bool {
	switch r.first("user") {
	case "system user", "event_scheduler", "unauthenticated user":
		return false
	}
	switch r.first("command") {
	case "Sleep", "Daemon", "Binlog Dump", "Binlog Dump GTID", "Connect", "Killed", "Slave_SQL", "Slave_IO", "Slave_worker":
		return false
	}
	return !strings.Contains(r.first("info"), markOwn)
}

// markOwn is in our own look at the processes, which is a running statement too.
const markOwn = "/* holdstill */"

func age(r Row) time.Duration {
	if ms, err := strconv.ParseFloat(r.first("time_ms"), 64); err == nil {
		return time.Duration(ms * float64(time.Millisecond))
	}
	return time.Duration(r.number("time")) * time.Second
}

// blocksStages reports whether the backup stages would wait for a statement: DDL, a commit in its last part, and writes to
// tables without transactions.
func blocksStages(text string, loose *looseTables) bool {
	words := strings.Fields(strings.ToUpper(text))
	if len(words) == 0 {
		return false
	}
	switch words[0] {
	case "ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE", "OPTIMIZE", "REPAIR", "COMMIT", "XA":
		return true
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "EXECUTE":
		return loose.mentionedIn(text)
	}
	return false
}

// awaitReaders backs off until no statement runs that would turn the hold into an outage: FLUSH TABLES WITH READ LOCK
// waits for all of them, everybody else waits behind it, and even after it is interrupted a table that a long SELECT still
// reads stays closed to newcomers until that SELECT ends. So it must not be sent while one runs.
func (h *hold) awaitReaders(ctx context.Context, until time.Time) error {
	for {
		running, err := h.server.running(ctx, h.control)
		if err != nil {
			return err
		}
		if len(running) == 0 || running[0].Running < longRunning {
			return nil
		}
		if time.Now().Add(readersBackoff).After(until) {
			r := running[0]
			return fmt.Errorf("%w: connection %d of %s runs for %s: %s", database.ErrBusy, r.ID, r.User, r.Running.Round(time.Millisecond), r.Text)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", database.ErrBusy, ctx.Err())
		case <-time.After(readersBackoff):
		}
	}
}

// longRunning is the age from which a statement is expected to go on for a while.
const longRunning = 100 * time.Millisecond
