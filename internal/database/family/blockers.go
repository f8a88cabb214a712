package family

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

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
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if s.say.ClosesTables {
		return s.usingTables(ctx, q, all)
	}
	var loose *looseTables
	if slices.ContainsFunc(all, func(st database.Statement) bool { return slices.Contains(writes, verbOf(st.Text)) }) {
		if loose, err = s.looseTables(ctx); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(st database.Statement) bool { return !blocksStages(st.Text, loose) }), nil
}

// usingTables leaves out statements without a table (SELECT SLEEP, waits for a user lock). Where that cannot be known, a
// statement counts: a hold that comes later is better than an outage.
func (s *Server) usingTables(ctx context.Context, q querier, all []database.Statement) ([]database.Statement, error) {
	if s.say.UsesTables == "" {
		return all, nil
	}
	var ids []string
	for _, st := range all {
		ids = append(ids, strconv.FormatUint(st.ID, 10))
	}
	rows, err := query(ctx, q, fmt.Sprintf(s.say.UsesTables, strings.Join(ids, ", ")))
	if err != nil {
		return all, nil //nolint:nilerr // the account may not look: see above
	}
	using := map[uint64]bool{}
	for _, r := range rows {
		using[uint64(r.number("id"))] = true
	}
	return slices.DeleteFunc(all, func(st database.Statement) bool { return !using[st.ID] }), nil
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
	case "", "system user", "event_scheduler", "unauthenticated user": // performance_schema names no user for threads of the server's own
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
	verb := verbOf(text)
	return slices.Contains(ddl, verb) || slices.Contains(writes, verb) && loose.mentionedIn(text)
}

var (
	ddl    = []string{"ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE", "OPTIMIZE", "REPAIR", "COMMIT", "XA"}
	writes = []string{"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "EXECUTE"}
)

// verbOf is a statement's first word behind comments.
func verbOf(text string) string {
	text = strings.TrimSpace(text)
	for strings.HasPrefix(text, "/*") && !strings.HasPrefix(text, "/*!") {
		_, rest, _ := strings.Cut(text, "*/")
		text = strings.TrimSpace(rest)
	}
	end := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsLetter(r) })
	if end >= 0 {
		text = text[:end]
	}
	return strings.ToUpper(text)
}

// awaitReaders backs off until no statement runs that would turn the hold into an outage: FLUSH TABLES WITH READ LOCK
// waits for all of them, everybody else waits behind it, and even after it is interrupted a table that a long SELECT still
// reads stays closed to newcomers until that SELECT ends. So it must not be sent while one runs.
func (h *hold) awaitReaders(ctx context.Context, until time.Time) error {
	for {
		running, err := h.server.running(ctx, h.control)
		if err == nil && len(running) > 0 && running[0].Running >= longRunning {
			running, err = h.server.usingTables(ctx, h.control, running)
		}
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
