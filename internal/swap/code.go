package swap

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
)

// Code is a view, a routine or an event that is made, or made anew, after the swap.
type Code struct {
	Kind      string `json:"kind"`     // VIEW, FUNCTION, PROCEDURE, PACKAGE, PACKAGE BODY or EVENT
	Name      string `json:"name"`     // without the database
	Title     string `json:"title"`    // "view shop.totals"
	Database  string `json:"database"` // that is in use while it is made
	SQLMode   string `json:"sql_mode"`
	Collation string `json:"collation,omitempty"` // of the connection that made it
	TimeZone  string `json:"time_zone,omitempty"` // of an event
	Drop      string `json:"drop,omitempty"`
	Create    string `json:"create"`
	View      bool   `json:"view,omitempty"` // may need another one that is made later
	Old       *Code  `json:"old,omitempty"`  // what is in its place, which only we remember once it is dropped
}

// ReadCode reads what SHOW CREATE says of a view, a routine or an event: the code that makes it in the database to. If that is another than its
// own, q must be one connection; it uses the view's database then.
func ReadCode(ctx context.Context, q schema.Querier, kind string, n schema.Name, to string) (Code, error) {
	if kind == "VIEW" && to != n.Database {
		if _, err := schema.Ask(ctx, q, "USE "+schema.Quote(n.Database)); err != nil {
			return Code{}, err
		}
	}
	rows, err := schema.Ask(ctx, q, "SHOW CREATE "+kind+" "+n.SQL())
	if err != nil {
		return Code{}, err
	}
	r := rows[0]
	create := r["create "+strings.ToLower(kind)]
	if create == "" {
		return Code{}, fmt.Errorf("the server does not show the %s %s to this account", strings.ToLower(kind), n)
	}
	at := schema.Name{Database: to, Table: n.Table}
	c := Code{Kind: kind, Name: n.Table, Title: strings.ToLower(kind) + " " + at.String(), Database: to, SQLMode: r["sql_mode"],
		Collation: r["collation_connection"], TimeZone: r["time_zone"], Create: create}
	if kind != "VIEW" { // the statement of these names no database, so it is made in whichever is in use
		c.Drop = "DROP " + kind + " IF EXISTS " + at.SQL()
		return c, nil
	}
	c.View = true
	if to != n.Database {
		if c.Create, err = moved(c.Create, n.Database, to); err != nil {
			return Code{}, fmt.Errorf("the view %s cannot be made in the database %s: %w", n, to, err)
		}
	}
	c.Create = strings.Replace(c.Create, "CREATE ", "CREATE OR REPLACE ", 1)
	return c, nil
}

// moved is the definition of a view for another database, as a session shows it that uses the view's own. It names no database then, but for
// functions; where the view reads another database too, it names all of them, and the name may be that of something else as well.
func moved(create, from, to string) (string, error) {
	name := regexp.QuoteMeta(schema.Quote(from))
	if !regexp.MustCompile(`(?i)\b(from|join)\s+\(*` + name + `\.`).MatchString(create) {
		calls := regexp.MustCompile(name + "(\\.`(?:[^`]|``)+`\\()")
		return calls.ReplaceAllString(create, strings.ReplaceAll(schema.Quote(to), "$", "$$")+"$1"), nil
	}
	all := strings.ReplaceAll(create, schema.Quote(from)+".", "")
	if strings.Contains(all, schema.Quote(from)) {
		return "", fmt.Errorf("it reads other databases too, and something else in it is called %s", from)
	}
	return strings.ReplaceAll(create, schema.Quote(from)+".", schema.Quote(to)+"."), nil
}

// eventState is where SHOW CREATE EVENT, and so every dump, says whether an event runs: before its comment and its body.
var eventState = regexp.MustCompile(`(?i)(\bON\s+COMPLETION\s+(?:NOT\s+)?PRESERVE\s+)(?:ENABLE|DISABLE(?:\s+ON\s+(?:SLAVE|REPLICA))?)\b`)

// Asleep disables the events of a database that is a copy of from beside it: they would run there too, and their bodies may name the other one.
func Asleep(code []Code, from string) (asleep []Code, warnings []string) {
	asleep = slices.Clone(code)
	for i, c := range asleep {
		if c.Kind != "EVENT" {
			continue
		}
		if at := eventState.FindStringSubmatchIndex(c.Create); at != nil {
			asleep[i].Create = c.Create[:at[3]] + "DISABLE" + c.Create[at[1]:]
			warnings = append(warnings, fmt.Sprintf("the %s is disabled: it would run beside that of %s, and its body may name it (ALTER EVENT .. ENABLE, when it is right)", c.Title, from))
		}
	}
	for _, c := range asleep {
		if !c.View && strings.Contains(c.Create, from+".") || strings.Contains(c.Create, schema.Quote(from)+".") {
			warnings = append(warnings, fmt.Sprintf("the body of the %s names %s", c.Title, from))
		}
	}
	return asleep, warnings
}

// remember reads what is in the places of the code, and what stands in its way.
func remember(ctx context.Context, s *session, code []Code, r *Refusal) ([]Code, error) {
	out := make([]Code, len(code))
	for i, c := range code {
		out[i] = c
		there, err := c.there(ctx, s)
		if err != nil {
			return nil, err
		}
		switch there {
		case "":
			continue
		case "other":
			r.Reasons = append(r.Reasons, fmt.Sprintf("the %s cannot be made: a table has its name", c.Title))
			r.Help = "drop or rename that table, or restore beside it with --as"
			continue
		}
		old, err := ReadCode(ctx, s.conn, c.Kind, schema.Name{Database: c.Database, Table: c.Name}, c.Database)
		if err != nil { // it would be lost
			r.Reasons = append(r.Reasons, fmt.Sprintf("the %s would be replaced, and how it is now cannot be read: %v", c.Title, err))
			r.Help = "give the account what docs/grants.md says, or drop it first"
			continue
		}
		out[i].Old = &old
	}
	return out, nil
}

// there tells what has the name: "" for nothing, "same" for code of the kind, "other" for a table.
func (c Code) there(ctx context.Context, s *session) (string, error) {
	query := "SELECT 'same' AS what FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ? AND ROUTINE_NAME = ? AND ROUTINE_TYPE = ?"
	args := []any{c.Database, c.Name, c.Kind}
	switch c.Kind {
	case "VIEW":
		query = "SELECT IF(TABLE_TYPE = 'VIEW', 'same', 'other') AS what FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?"
		args = args[:2]
	case "EVENT":
		query = "SELECT 'same' AS what FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ? AND EVENT_NAME = ?"
		args = args[:2]
	}
	rows, err := s.ask(ctx, query, args...)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0]["what"], nil
}

// makeCode makes all of it. Views that need others are tried again, as long as that helps.
func makeCode(ctx context.Context, s *session, code []Code) error {
	left := code
	for len(left) > 0 {
		var failed []Code
		var all []error
		for _, c := range left {
			if err := c.replace(ctx, s); err != nil {
				failed, all = append(failed, c), append(all, fmt.Errorf("cannot make the %s: %w", c.Title, err))
			}
		}
		if len(failed) == len(left) {
			return errors.Join(all...)
		}
		left = failed
	}
	return nil
}

// replace makes it, and the old one again where the new one cannot be made: no product has a CREATE OR REPLACE for all of them.
func (c Code) replace(ctx context.Context, s *session) error {
	err := c.make(ctx, s)
	if err == nil || c.Old == nil || c.View { // a view is replaced in one statement
		return err
	}
	if again := c.Old.make(context.WithoutCancel(ctx), s); again != nil {
		return errors.Join(err, fmt.Errorf("and the old one cannot be made again: %w", again))
	}
	return fmt.Errorf("%w (the old one is made again)", err)
}

func (c Code) make(ctx context.Context, s *session) error {
	for _, statement := range append(c.settings(), c.statements()...) {
		if err := s.exec(ctx, statement); err != nil {
			return err
		}
	}
	return s.exec(ctx, "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = 'SYSTEM'")
}

// settings are what a session must be like to make it.
func (c Code) settings() []string {
	out := []string{"USE " + schema.Quote(c.Database), "SET SESSION sql_mode = " + text(c.SQLMode)}
	if c.Collation != "" {
		out = append(out, "SET SESSION collation_connection = "+text(c.Collation))
	}
	if c.TimeZone != "" {
		out = append(out, "SET SESSION time_zone = "+text(c.TimeZone))
	}
	return out
}

func (c Code) statements() []string {
	if c.Drop == "" {
		return []string{c.Create}
	}
	return []string{c.Drop, c.Create}
}

// differs tells whether the new one is another than the old one.
func (c Code) differs() bool {
	return c.Old != nil && (c.Create != c.Old.Create || c.SQLMode != c.Old.SQLMode || c.Collation != c.Old.Collation || c.TimeZone != c.Old.TimeZone)
}
