package load

import (
	"regexp"
	"strings"

	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// definition is a CREATE TABLE as the servers show it: one definition a line.
type definition struct {
	head  string   // CREATE TABLE `t` (
	lines []string // without the comma
	tail  string   // ) ENGINE=... and what follows
	keys  []swap.Key
	later []string // clauses of an ALTER TABLE, for after the rows
}

// parse takes a statement apart; false if it is not in the servers' own form.
func parse(text string) (*definition, bool) {
	rows := strings.Split(text, "\n")
	d := &definition{head: rows[0]}
	if !strings.HasSuffix(d.head, "(") {
		return nil, false
	}
	for i, row := range rows[1:] {
		if strings.HasPrefix(row, ")") {
			d.tail = strings.Join(rows[i+1:], "\n")
			return d, len(d.lines) > 0
		}
		if !strings.HasPrefix(row, "  ") {
			return nil, false
		}
		d.lines = append(d.lines, strings.TrimSuffix(strings.TrimSpace(row), ","))
	}
	return nil, false
}

func (d *definition) String() string {
	return d.head + "\n  " + strings.Join(d.lines, ",\n  ") + "\n" + d.tail
}

const names = "\\(((?:`(?:[^`]|``)+`(?:, ?)?)+)\\)"

var (
	foreignKey = regexp.MustCompile("(?i)^CONSTRAINT (`(?:[^`]|``)+`) FOREIGN KEY (?:`(?:[^`]|``)+` )?" + names + " REFERENCES (?:(`(?:[^`]|``)+`)\\.)?(`(?:[^`]|``)+`) " + names + "(.*)$")
	onDelete   = regexp.MustCompile(`(?i)ON DELETE (RESTRICT|CASCADE|SET NULL|NO ACTION|SET DEFAULT)`)
	onUpdate   = regexp.MustCompile(`(?i)ON UPDATE (RESTRICT|CASCADE|SET NULL|NO ACTION|SET DEFAULT)`)
	oneName    = regexp.MustCompile("`((?:[^`]|``)+)`")
	plainKey   = regexp.MustCompile("^KEY `")
	autoColumn = regexp.MustCompile("^(`(?:[^`]|``)+`) .*\\bAUTO_INCREMENT\\b")
)

// takeKeys takes the foreign keys out. They come back with the swap, when what they refer to is in its place.
func (d *definition) takeKeys(database string) {
	kept := d.lines[:0:0]
	for _, line := range d.lines {
		f := foreignKey.FindStringSubmatch(line)
		if f == nil {
			kept = append(kept, line)
			continue
		}
		to := schema.Name{Database: database, Table: unquote(f[4])}
		if f[3] != "" {
			to.Database = unquote(f[3])
		}
		d.keys = append(d.keys, swap.Key{Name: unquote(f[1]), Columns: list(f[2]), To: to, ToColumns: list(f[5]),
			OnDelete: action(onDelete, f[6]), OnUpdate: action(onUpdate, f[6])})
	}
	d.lines = kept
}

var nextval = regexp.MustCompile("(?i)^(`(?:[^`]|``)+`) .*?( DEFAULT nextval\\((?:(`(?:[^`]|``)+`)\\.)?(`(?:[^`]|``)+`)\\))")

// takeDefaults takes the defaults out that a sequence gives: the rows bring their numbers.
func (d *definition) takeDefaults(database string) (out []Default) {
	for i, line := range d.lines {
		f := nextval.FindStringSubmatchIndex(line)
		if f == nil {
			continue
		}
		from := schema.Name{Database: database, Table: unquote(line[f[8]:f[9]])}
		if f[6] >= 0 {
			from.Database = unquote(line[f[6]:f[7]])
		}
		out = append(out, Default{unquote(line[f[2]:f[3]]), from})
		d.lines[i] = line[:f[4]] + line[f[5]:]
	}
	return out
}

func action(pattern *regexp.Regexp, text string) string {
	if f := pattern.FindStringSubmatch(text); f != nil {
		return strings.ToUpper(f[1])
	}
	return "RESTRICT"
}

func list(text string) (out []string) {
	for _, f := range oneName.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.ReplaceAll(f[1], "``", "`"))
	}
	return out
}

// defer takes the secondary indexes out, to be made over all rows at once, which sorts them. The index of the AUTO_INCREMENT column has
// to stay, and so do unique ones: they are rare, and a row that is there twice is better told where it stands.
func (d *definition) deferIndexes() {
	auto := ""
	for _, line := range d.lines {
		if f := autoColumn.FindStringSubmatch(line); f != nil {
			auto = f[1]
		}
	}
	kept := d.lines[:0:0]
	for _, line := range d.lines {
		if plainKey.MatchString(line) && (auto == "" || !strings.Contains(line, "("+auto)) {
			d.later = append(d.later, "ADD "+line)
		} else {
			kept = append(kept, line)
		}
	}
	d.lines = kept
}
