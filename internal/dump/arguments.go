package dump

import (
	"slices"
	"strconv"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
)

// login are the arguments by which a tool of the server reaches it. A client option file holds the password, so it is never among them. What
// the file says about the place does not count: a scratch server's account is that of the live one, and so is its file.
func login(e database.Endpoint) []string {
	first := "--no-defaults"
	if e.OptionFile != "" {
		first = "--defaults-file=" + e.OptionFile
	}
	out := []string{first}
	if e.User != "" {
		out = append(out, "--user="+e.User)
	}
	if e.Socket != "" {
		return append(out, "--protocol=socket", "--socket="+e.Socket)
	}
	return append(out, "--protocol=tcp", "--host="+e.Host, "--port="+strconv.Itoa(e.Port))
}

// always are the arguments of every call. Blobs in hexadecimal survive every character set and editor; times are in UTC. Without LOCK TABLES a
// file loads where a column's default asks a sequence, which would have to be locked too.
func (j *job) always() []string {
	out := append(login(j.source.Endpoint), "--default-character-set=utf8mb4", "--hex-blob", "--tz-utc", "--quick", "--quote-names",
		"--no-tablespaces", "--skip-dump-date", "--comments", "--skip-lock-tables", "--skip-add-locks", "--max-allowed-packet=1G")
	if j.tool.Product == database.MySQL {
		out = append(out, "--set-gtid-purged=OFF") // a table's dump must not change what a server believes to have
		if j.tool.Version[0] >= 8 {
			out = append(out, "--column-statistics=0")
		}
	}
	return out
}

// namedMax is how many tables are named: the kernel bounds a program's arguments to 2 MiB.
const namedMax = 5000

// rowsOfAll are the arguments for all tables in one transaction. Of one database they are named; of several the tool can only be told the
// databases, and what not to take.
func (j *job) rowsOfAll() []string {
	out := append(j.always(), "--single-transaction", "--verbose", "--skip-triggers")
	tasks := j.tasks(true)
	for _, t := range tasks {
		if t.table.Kind == schema.Versioned && j.tool.history(j.held) {
			out = append(out, "--dump-history")
			break
		}
	}
	if only := j.plan.only(); only != "" && len(tasks) <= namedMax {
		out = append(out, "--", only)
		for _, t := range tasks {
			out = append(out, t.table.Name)
		}
		return out
	}
	wanted, databases := map[schema.Name]bool{}, []string{}
	for _, t := range tasks {
		wanted[t.table.FullName()] = true
		if !slices.Contains(databases, t.database) {
			databases = append(databases, t.database)
		}
	}
	for _, name := range databases {
		for _, t := range j.held.Database(name).Tables {
			if !wanted[t.FullName()] {
				out = append(out, "--ignore-table="+name+"."+t.Name)
			}
		}
	}
	return append(append(out, "--no-create-db", "--databases", "--"), databases...)
}

// noRowsOf are the arguments for the text around a table's rows.
func (j *job) noRowsOf(t task) []string {
	return append(j.always(), "--single-transaction", "--skip-triggers", "--where=FALSE", "--", t.database, t.table.Name)
}

// arguments are those for one file. What the user named stands behind "--".
func (j *job) arguments(t task) []string {
	out := j.always()
	switch t.part {
	case dumpfile.Rows:
		out = append(out, "--skip-triggers")
		if t.table.Kind == schema.Versioned && j.tool.history(j.held) {
			out = append(out, "--dump-history")
		}
		return append(out, "--", t.database, t.table.Name)
	case dumpfile.Schema:
		out = append(out, "--no-data", "--routines", "--events", "--triggers")
	case dumpfile.Views:
		out = append(out, "--no-data", "--skip-triggers")
	case dumpfile.Routines:
		out = append(out, "--no-data", "--no-create-info", "--skip-triggers", "--routines")
	case dumpfile.Triggers:
		out = append(out, "--no-data", "--no-create-info", "--triggers")
	case dumpfile.Events:
		out = append(out, "--no-data", "--no-create-info", "--skip-triggers", "--events")
	}
	return append(append(out, "--", t.database), t.names...)
}
