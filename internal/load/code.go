package load

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// settings are what a dump tool sets before the code that follows.
type settings struct{ mode, collation, zone string }

var (
	modeSet      = regexp.MustCompile(`(?i)sql_mode\s*=\s*'([^']*)'`)
	collationSet = regexp.MustCompile(`(?i)collation_connection\s*=\s*(\w+)`)
	zoneSet      = regexp.MustCompile(`(?i)\btime_zone\s*=\s*'([^']*)'`)
)

// read takes note of one SET.
func (s *settings) read(statement string) {
	for _, one := range []struct {
		pattern *regexp.Regexp
		into    *string
	}{{modeSet, &s.mode}, {collationSet, &s.collation}, {zoneSet, &s.zone}} {
		if f := one.pattern.FindStringSubmatch(statement); f != nil {
			*one.into = f[1]
		}
	}
}

type onTable struct {
	swap.Trigger
	table string
}

var triggerText = regexp.MustCompile(`(?is)^CREATE\s+(?:OR\s+REPLACE\s+)?(?:DEFINER\s*=\s*(` + "`(?:[^`]|``)*`@`(?:[^`]|``)*`" + `|\S+)\s+)?TRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?` + ofDatabase + identifier + `\s+(BEFORE|AFTER)\s+(INSERT|UPDATE|DELETE)\s+ON\s+` + ofDatabase + identifier + `\s+FOR\s+EACH\s+ROW\s+(.*)$`)

// triggerOf reads a CREATE TRIGGER.
func triggerOf(statement string, s *settings) (onTable, bool) {
	f := triggerText.FindStringSubmatch(strings.TrimSpace(unconditional(statement)))
	if f == nil {
		return onTable{}, false
	}
	return onTable{swap.Trigger{Name: unquote(f[2]), Timing: strings.ToUpper(f[3]), Event: strings.ToUpper(f[4]), Body: strings.TrimSpace(f[6]),
		Definer: account(f[1]), SQLMode: s.mode, Collation: s.collation}, unquote(f[5])}, true
}

// eachCode reads a text and gives every statement that makes code, with the settings before it and the name of what it makes.
func eachCode(in io.Reader, do func(sql, name string, s *settings) error) error {
	state := &settings{}
	for statements := dumpfile.NewStatements(in); ; {
		statement, err := statements.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		what, name, err := meaning(statement)
		switch {
		case err != nil:
			return err
		case what == setting:
			state.read(string(statement.Text))
		case what == code:
			if err := do(string(statement.Text), name, state); err != nil {
				return fmt.Errorf("line %d: %w", statement.Line, err)
			}
		}
	}
}

// triggersIn reads a file of triggers, by table.
func triggersIn(in io.Reader) (map[string][]swap.Trigger, error) {
	out := map[string][]swap.Trigger{}
	return out, eachCode(in, func(sql, name string, s *settings) error {
		t, ok := triggerOf(sql, s)
		if !ok {
			return fmt.Errorf("the trigger %s cannot be read", name)
		}
		out[t.table] = append(out[t.table], t.Trigger)
		return nil
	})
}

// unconditional takes the marks away that stand around what only some versions shall read: those at the beginning, and the ends that
// belong to them. A body may have comments of its own, but not of this kind between CREATE and its own words.
func unconditional(statement string) string {
	if !strings.HasPrefix(statement, "/*!") && !strings.HasPrefix(statement, "/*M!") {
		return statement
	}
	out, opened := "", 0
	for rest := statement; ; {
		at := opening.FindStringIndex(rest)
		if at == nil || opened > 0 && !strings.Contains(rest[:at[0]], "*/") {
			// the last one: its end is the last of the text
			if end := strings.LastIndex(rest, "*/"); end >= 0 {
				rest = rest[:end]
			}
			return out + rest
		}
		out += strings.Replace(rest[:at[0]], "*/", " ", 1)
		rest = rest[at[1]:]
		opened++
	}
}

var opening = regexp.MustCompile(`/\*M?!\d{5,6}\s*`)

// account turns `u`@`h` into u@h, which is how the server tells it.
func account(definer string) string {
	names := oneName.FindAllStringSubmatch(definer, -1)
	if len(names) == 2 {
		return strings.ReplaceAll(names[0][1], "``", "`") + "@" + strings.ReplaceAll(names[1][1], "``", "`")
	}
	return strings.Trim(definer, "`'")
}

// codeIn reads a file of views, routines or events. A view that only stands in for a later one is left out.
func codeIn(in io.Reader, to string) (out []swap.Code, err error) {
	seen := map[string]int{}
	err = eachCode(in, func(sql, name string, s *settings) error {
		c := codeOf(unconditional(sql), schema.Name{Database: to, Table: name}, s)
		if at, twice := seen[c.Title]; twice {
			out[at] = c
			return nil
		}
		seen[c.Title] = len(out)
		out = append(out, c)
		return nil
	})
	return out, err
}

// codeOf is what a statement makes, and how what has its name is dropped.
func codeOf(sql string, at schema.Name, s *settings) swap.Code {
	kind := strings.Join(strings.Fields(strings.ToUpper(createCode.FindStringSubmatch(sql)[2])), " ")
	kind = strings.TrimPrefix(kind, "AGGREGATE ") // which only a CREATE says
	c := swap.Code{Kind: kind, Name: at.Table, Title: strings.ToLower(kind) + " " + at.String(), Database: at.Database,
		SQLMode: s.mode, Collation: s.collation, Create: sql, Drop: "DROP " + kind + " IF EXISTS " + at.SQL()}
	switch kind {
	case "EVENT":
		c.TimeZone = s.zone
	case "VIEW":
		c.View, c.SQLMode, c.Drop = true, "", ""
		c.Create = strings.Replace(sql, "CREATE ", "CREATE OR REPLACE ", 1)
	}
	return c
}
