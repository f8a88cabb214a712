package databasetest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
)

// grantsDocument is where people read what to type, from the directory of a make's tests.
const grantsDocument = "../../../docs/grants.md"

const (
	testUser     = "holdstill"
	testPassword = "it's a \"secret\" # \\ word"
)

// testGrants makes accounts as the document says and does everything with them.
func (f *fixture) testGrants(t *testing.T) {
	for _, mode := range []database.Mode{database.Hot, database.Locked, database.Cold} {
		t.Run(string(mode), func(t *testing.T) {
			f.account(t)
			for _, grant := range f.documented(t, mode) {
				must(t, f.middle.Exec(t.Context(), grant))
			}
			f.work(t, mode)
		})
	}
	t.Run("as the facts say", f.testMissing)
}

// testMissing types exactly what the facts of an account without any privilege say.
func (f *fixture) testMissing(t *testing.T) {
	f.account(t)
	facts := f.facts(t, f.as(t, f.endpoint(t)))
	for _, grant := range append(append(facts.Missing, facts.MissingFor[database.Locked]...), facts.MissingFor[database.Cold]...) {
		t.Log(grant)
		must(t, f.middle.Exec(t.Context(), grant))
	}
	f.work(t, database.Cold)
}

func (f *fixture) account(t *testing.T) {
	t.Helper()
	quoted := strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(testPassword)
	must(t, f.middle.Exec(t.Context(), "DROP USER IF EXISTS holdstill@localhost", fmt.Sprintf("CREATE USER holdstill@localhost IDENTIFIED BY '%s'", quoted)))
}

// endpoint names a client option file that holds the password in the form that the servers' own clients read.
func (f *fixture) endpoint(t *testing.T) database.Endpoint {
	t.Helper()
	path := filepath.Join(t.TempDir(), "client.cnf")
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(testPassword)
	must(t, os.WriteFile(path, []byte(fmt.Sprintf("[client]\nuser = %s\npassword = \"%s\"\nsocket = %s\n", testUser, quoted, f.middle.Socket)), 0o600))
	return database.Endpoint{OptionFile: path}
}

var condition = regexp.MustCompile(`^<!-- grants: (mariadb|mysql) (?:>= ([0-9.]+) )?(?:< ([0-9.]+) )?(hot|locked|cold) -->$`)

// documented collects the GRANT statements for this build: each mode adds to the ones before.
func (f *fixture) documented(t *testing.T, mode database.Mode) []string {
	file, err := os.Open(grantsDocument)
	must(t, err)
	defer func() { _ = file.Close() }()
	order := map[string]int{"hot": 0, "locked": 1, "cold": 2}
	var out []string
	wanted, inside := false, false
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch m := condition.FindStringSubmatch(line); {
		case m != nil:
			wanted = m[1] == f.build.Product && f.within(m[2], m[3]) && order[m[4]] <= order[string(mode)]
		case strings.HasPrefix(line, "```"):
			inside = !inside && line == "```sql"
			wanted = wanted && inside
		case wanted && inside && line != "" && !strings.HasPrefix(line, "--"):
			out = append(out, strings.TrimSuffix(line, ";"))
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s has no grants for %s", grantsDocument, f.build.Name)
	}
	return out
}

func (f *fixture) within(from, below string) bool {
	at := func(v string) bool {
		major, minor, _ := strings.Cut(v, ".")
		a, _ := strconv.Atoi(major)
		b, _ := strconv.Atoi(minor)
		return f.build.AtLeast(a, b)
	}
	return (from == "" || at(from)) && (below == "" || !at(below))
}

// work does what a backup of the mode does.
func (f *fixture) work(t *testing.T, mode database.Mode) {
	s := f.as(t, f.endpoint(t))
	facts := f.facts(t, s)
	if len(facts.Unreadable) > 0 || len(facts.Missing) > 0 || len(facts.MissingFor[mode]) > 0 {
		t.Errorf("with the grants for %s unreadable are %q, missing %q %q", mode, facts.Unreadable, facts.Missing, facts.MissingFor[mode])
	}
	if !facts.Has("InnoDB") || len(facts.Channels) != 1 || len(facts.Replicas) != 1 || facts.Position.File == "" {
		t.Errorf("the account sees engines %v, channels %v, replicas %q, position %v", facts.Engines, facts.Channels, facts.Replicas, facts.Position)
	}
	_, err := s.Blockers(t.Context())
	must(t, err)
	h, err := hold(t, s, 5*time.Second)
	must(t, err)
	h.release(t)
	if mode == database.Hot {
		return
	}
	stop := s.StopReplication(facts, database.Both)
	_, err = stop.Act(t.Context())
	must(t, err)
	if mode == database.Cold {
		readOnly := s.SetReadOnly(facts)
		_, err = readOnly.Act(t.Context())
		must(t, err)
		must(t, readOnly.Undo(context.Background()))
	}
	must(t, f.Undoers[stop.Deed.Kind](t.Context(), stop.Deed))
	f.settle(t, s, threads(facts))
}
