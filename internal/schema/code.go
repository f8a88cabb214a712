package schema

import (
	"context"
	"errors"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/database"
)

func readRoutines(ctx context.Context, q Querier, s *Server) error {
	rows, err := Ask(ctx, q, "SELECT ROUTINE_SCHEMA AS db, ROUTINE_NAME AS name, ROUTINE_TYPE AS type FROM information_schema.ROUTINES WHERE "+
		without("ROUTINE_SCHEMA")+" ORDER BY ROUTINE_SCHEMA, ROUTINE_TYPE, ROUTINE_NAME")
	for _, r := range rows {
		if d := s.Database(r["db"]); d != nil {
			d.Routines = append(d.Routines, Routine{Name: r["name"], Type: r["type"]})
		}
	}
	return err
}

func readTriggers(ctx context.Context, q Querier, s *Server) error {
	rows, err := Ask(ctx, q, "SELECT TRIGGER_SCHEMA AS db, TRIGGER_NAME AS name, EVENT_OBJECT_TABLE AS tab FROM information_schema.TRIGGERS WHERE "+
		without("TRIGGER_SCHEMA")+" ORDER BY TRIGGER_SCHEMA, EVENT_OBJECT_TABLE, TRIGGER_NAME")
	for _, r := range rows {
		if d := s.Database(r["db"]); d != nil {
			d.Triggers = append(d.Triggers, Trigger{Name: r["name"], Table: r["tab"]})
		}
	}
	return err
}

func readEvents(ctx context.Context, q Querier, s *Server) error {
	rows, err := Ask(ctx, q, "SELECT EVENT_SCHEMA AS db, EVENT_NAME AS name FROM information_schema.EVENTS WHERE "+
		without("EVENT_SCHEMA")+" ORDER BY EVENT_SCHEMA, EVENT_NAME")
	for _, r := range rows {
		if d := s.Database(r["db"]); d != nil {
			d.Events = append(d.Events, r["name"])
		}
	}
	return err
}

// readAccounts leaves them out where the account may not read mysql.user: whoever only wants a table needs no such privilege.
func readAccounts(ctx context.Context, q Querier, s *Server) error {
	role := "''"
	if s.Product == database.MariaDB {
		role = "is_role"
	}
	rows, err := Ask(ctx, q, "SELECT User AS name, Host AS host, "+role+" AS role FROM mysql.user ORDER BY User, Host")
	var said *mysql.MySQLError
	if errors.As(err, &said) && (said.Number == 1142 || said.Number == 1143 || said.Number == 1044) {
		return nil
	}
	for _, r := range rows {
		s.Accounts = append(s.Accounts, Account{User: r["name"], Host: r["host"], Role: r["role"] == "Y"})
	}
	return err
}
