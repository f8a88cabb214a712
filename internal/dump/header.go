package dump

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/holdstill/holdstill/internal/dumpfile"
)

// header begins every file: what it is, of which point, and the coordinates for two kinds of new servers: a replica of the one that was
// dumped ("as a source"), and a replica of the servers that that one followed itself ("as a replica").
func (j *job) header(t task) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintln(&b, "-- "+clean(fmt.Sprintf(format, args...))) }
	what := string(t.part)
	if t.part == dumpfile.Rows {
		what = "table " + t.table.FullName().SQL()
	} else if t.database != "" {
		what += " of " + t.database
	}
	line("Holdstill: %s", what)
	line("Server: %s %s, instance %s", j.held.Product, j.held.Version, j.Instance)
	if j.Point != "" {
		line("Point: %s", j.Point)
	}
	if j.Live {
		line("Live: from the running server, in one transaction that began at the moment; of no point")
	}
	line("Moment: %s", j.Moment.UTC().Format("2006-01-02 15:04:05 UTC"))
	if p := j.Position; p.File != "" || p.GTID != "" {
		line("As a source: file %s, offset %d, GTID %s", p.File, p.Offset, orNone(p.GTID))
	} else {
		line("As a source: it wrote no binary log")
	}
	for _, c := range j.Sources {
		line("As a replica: channel %q of %s:%d, file %s, offset %d, GTID %s", c.Name, c.Host, c.Port, c.File, c.Offset, orNone(c.GTID))
	}
	b.WriteString("--\n")
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// clean keeps what comes from a server in its line: a name may hold a line break, and what follows one would be SQL.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
