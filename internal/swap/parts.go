package swap

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
)

// Trigger is one trigger of a table, as information_schema tells it: everything that it takes to make it anew on another table.
type Trigger struct {
	Name      string `json:"name"`
	Timing    string `json:"timing"` // BEFORE, AFTER
	Event     string `json:"event"`  // INSERT, UPDATE, DELETE
	Body      string `json:"body"`
	Definer   string `json:"definer"` // user@host
	SQLMode   string `json:"sql_mode"`
	Collation string `json:"collation"` // of the connection that made it: its literals have it
}

// Triggers reads the triggers of a table in the order in which they act.
func Triggers(ctx context.Context, q schema.Querier, n schema.Name) ([]Trigger, error) {
	rows, err := schema.Ask(ctx, q, "SELECT TRIGGER_NAME AS name, ACTION_TIMING AS timing, EVENT_MANIPULATION AS event, ACTION_STATEMENT AS body, DEFINER AS definer, "+
		"SQL_MODE AS mode, COLLATION_CONNECTION AS collation FROM information_schema.TRIGGERS "+
		"WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ? ORDER BY EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER", n.Database, n.Table)
	var out []Trigger
	for _, r := range rows {
		out = append(out, Trigger{r["name"], r["timing"], r["event"], r["body"], r["definer"], r["mode"], r["collation"]})
	}
	return out, err
}

// create are the statements that make it on a table, under a name.
func (t Trigger) create(on schema.Name, name string) []string {
	return []string{
		"SET SESSION sql_mode = " + text(t.SQLMode) + ", collation_connection = " + text(t.Collation),
		"CREATE DEFINER = " + account(t.Definer) + " TRIGGER " + schema.Name{Database: on.Database, Table: name}.SQL() + " " + t.Timing + " " + t.Event +
			" ON " + on.SQL() + " FOR EACH ROW " + t.Body,
		"SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
	}
}

// account writes user@host for a statement. The host has no @, the user may.
func account(definer string) string {
	at := strings.LastIndexByte(definer, '@')
	if at < 0 {
		return schema.Quote(definer) // a role
	}
	return schema.Quote(definer[:at]) + "@" + schema.Quote(definer[at+1:])
}

// text writes a word of a server (a mode, a collation) as a literal.
func text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Key is a foreign key.
type Key struct {
	Name      string      `json:"name"` // "": the server finds one
	Columns   []string    `json:"columns"`
	To        schema.Name `json:"to"`
	ToColumns []string    `json:"to_columns"`
	OnUpdate  string      `json:"on_update,omitempty"` // "" where it is the server's default
	OnDelete  string      `json:"on_delete,omitempty"`
}

// Keys reads the foreign keys of a table.
func Keys(ctx context.Context, q schema.Querier, n schema.Name) ([]Key, error) {
	rows, err := schema.Ask(ctx, q, "SELECT k.CONSTRAINT_NAME AS name, k.COLUMN_NAME AS col, k.REFERENCED_TABLE_SCHEMA AS todb, k.REFERENCED_TABLE_NAME AS totab, "+
		"k.REFERENCED_COLUMN_NAME AS tocol, r.UPDATE_RULE AS up, r.DELETE_RULE AS del, VERSION() AS version FROM information_schema.KEY_COLUMN_USAGE AS k "+
		"JOIN information_schema.REFERENTIAL_CONSTRAINTS AS r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME "+
		"WHERE k.TABLE_SCHEMA = ? AND k.TABLE_NAME = ? AND k.REFERENCED_TABLE_NAME IS NOT NULL ORDER BY k.CONSTRAINT_NAME, k.ORDINAL_POSITION", n.Database, n.Table)
	var out []Key
	for _, r := range rows {
		if len(out) == 0 || out[len(out)-1].Name != r["name"] {
			out = append(out, Key{Name: r["name"], To: schema.Name{Database: r["todb"], Table: r["totab"]}, OnUpdate: rule(r["up"], r["version"]), OnDelete: rule(r["del"], r["version"])})
		}
		k := &out[len(out)-1]
		k.Columns, k.ToColumns = append(k.Columns, r["col"]), append(k.ToColumns, r["tocol"])
	}
	return out, err
}

// rule leaves out the default, which says the same as the other word for doing nothing, but is shown otherwise if it is spelled out.
func rule(shown, version string) string {
	usual := "RESTRICT"
	if major, _, _ := strings.Cut(version, "."); !strings.Contains(version, "MariaDB") && (len(major) > 1 || major >= "8") {
		usual = "NO ACTION"
	}
	if shown == usual {
		return ""
	}
	return shown
}

// add is the statement that gives the key to a table. With foreign_key_checks off it does not look at the rows, and needs no copy.
func (k Key) add(table, to schema.Name) string {
	name := ""
	if k.Name != "" {
		name = "CONSTRAINT " + schema.Quote(k.Name) + " "
	}
	statement := fmt.Sprintf("ALTER TABLE %s ADD %sFOREIGN KEY (%s) REFERENCES %s (%s)", table.SQL(), name, list(k.Columns), to.SQL(), list(k.ToColumns))
	for _, rule := range [][2]string{{" ON DELETE ", k.OnDelete}, {" ON UPDATE ", k.OnUpdate}} {
		if rule[1] != "" {
			statement += rule[0] + rule[1]
		}
	}
	return statement
}

// like tells whether two keys bind the same columns to the same.
func (k Key) like(other Key) bool {
	return k.To == other.To && list(k.Columns) == list(other.Columns) && list(k.ToColumns) == list(other.ToColumns)
}

func (k Key) drop(table schema.Name) string {
	return "ALTER TABLE " + table.SQL() + " DROP FOREIGN KEY " + schema.Quote(k.Name)
}

// orphans counts the rows of a table that the key would refuse.
func (k Key) orphans(table schema.Name) string {
	var on, set []string
	for i, c := range k.Columns {
		on = append(on, "c."+schema.Quote(c)+" = p."+schema.Quote(k.ToColumns[i]))
		set = append(set, "c."+schema.Quote(c)+" IS NOT NULL")
	}
	return fmt.Sprintf("SELECT COUNT(*) AS n FROM %s AS c LEFT JOIN %s AS p ON %s WHERE %s AND p.%s IS NULL",
		table.SQL(), k.To.SQL(), strings.Join(on, " AND "), strings.Join(set, " AND "), schema.Quote(k.ToColumns[0]))
}

func list(columns []string) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = schema.Quote(c)
	}
	return strings.Join(quoted, ", ")
}
