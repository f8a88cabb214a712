package e2e

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/lab"
)

// A journal is the truth about a server's past: what it held after each commit of a workload that one session makes, as the server itself
// told at that time, and where its binary log was.
type journal struct {
	t       *testing.T
	build   lab.Build
	db      *sql.DB
	conn    *sql.Conn
	random  *rand.Rand
	at      func() (file string, offset int64) // of the server whose binary log counts
	tables  []string                           // that exist now
	made    int                                // tables so far
	Moments []moment
}

// moment is the state after a commit.
type moment struct {
	what   string
	gtid   string // of the commit; "" for a state between commits
	file   string
	offset int64
	time   time.Time // a time at which this was the state; zero: there is no second of its own
	print  string    // of the whole content
	inside int64     // an offset of an event inside the transaction, if it is a large one
}

func emptyJournal(t *testing.T, build lab.Build, socket string, seed uint64) *journal {
	t.Helper()
	db := root(t, socket)
	t.Cleanup(func() { _ = db.Close() })
	return &journal{t: t, build: build, db: db, conn: must(db.Conn(t.Context()))(t), random: rand.New(rand.NewPCG(seed, 6))}
}

// newJournalOn goes on with what another journal has made.
func newJournalOn(t *testing.T, build lab.Build, socket string, seed uint64) *journal {
	t.Helper()
	j := emptyJournal(t, build, socket, seed)
	j.do("SET GLOBAL local_infile = ON", "USE truth")
	return j
}

func newJournal(t *testing.T, build lab.Build, socket string, seed uint64) *journal {
	t.Helper()
	j := emptyJournal(t, build, socket, seed)
	j.do("SET GLOBAL local_infile = ON", "CREATE DATABASE truth", "USE truth",
		"CREATE TABLE keep (id INT AUTO_INCREMENT PRIMARY KEY, n INT, text VARCHAR(300), at DATETIME(6), KEY (n)) ENGINE=InnoDB",
		"CREATE TABLE plain (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(100)) ENGINE=MyISAM",
		"CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100), moment TIMESTAMP(6) NULL) ENGINE=InnoDB",
		"CREATE TRIGGER told AFTER INSERT ON keep FOR EACH ROW INSERT INTO log (what, moment) VALUES (CONCAT('keep ', NEW.n), NEW.at)",
		"CREATE PROCEDURE twice(IN a INT) BEGIN UPDATE keep SET n = n + a WHERE id % 3 = 0; INSERT INTO log (what) VALUES (CONCAT('twice ', a)); END",
	)
	j.tables = []string{"keep", "plain", "log"}
	return j
}

func (j *journal) do(statements ...string) {
	j.t.Helper()
	for _, s := range statements {
		if _, err := j.conn.ExecContext(j.t.Context(), s); err != nil {
			j.t.Fatalf("%s: %v", s, err)
		}
	}
}

func (j *journal) ask(query string) string {
	j.t.Helper()
	var v sql.NullString
	check(j.t, j.conn.QueryRowContext(j.t.Context(), query).Scan(&v))
	return strings.Join(strings.Fields(v.String), "")
}

// note writes down the state after a commit.
func (j *journal) note(what string) *moment {
	m := moment{what: what, print: fingerprint(j.t, j.db)}
	if j.build.Product == lab.MariaDB {
		m.gtid = j.ask("SELECT @@last_gtid")
	} else {
		m.gtid = lastOf(j.ask("SELECT @@GLOBAL.gtid_executed"), j.ask("SELECT @@GLOBAL.server_uuid"))
	}
	m.file, m.offset = j.at()
	j.Moments = append(j.Moments, m)
	return &j.Moments[len(j.Moments)-1]
}

// lastOf is the last transaction of a server in a set of MySQL's that has no gaps.
func lastOf(set, uuid string) string {
	for one := range strings.SplitSeq(set, ",") {
		if rest, ok := strings.CutPrefix(one, uuid+":"); ok {
			_, last, found := strings.Cut(rest, "-")
			if !found {
				last = rest
			}
			return uuid + ":" + last
		}
	}
	return ""
}

// steps are the kinds of commits; each makes one transaction, but for those that say so.
func (j *journal) steps() []func() string {
	r := j.random
	number := func() int { return r.IntN(1000) }
	return []func() string{
		func() string {
			j.do(fmt.Sprintf("INSERT INTO keep (n, text, at) VALUES (%d, REPEAT('x', %d), NOW(6))", number(), r.IntN(300)))
			return "insert"
		},
		func() string {
			j.do("BEGIN", fmt.Sprintf("INSERT INTO keep (n, text) VALUES (%d, 'a'), (%d, UUID())", number(), number()), "UPDATE keep SET n = n + 1 WHERE id % 5 = 0", "SAVEPOINT s", "DELETE FROM keep", "ROLLBACK TO s", "COMMIT")
			return "savepoint"
		},
		func() string {
			j.do(fmt.Sprintf("UPDATE keep SET text = CONCAT('u', id), n = %d WHERE id %% 7 = %d", number(), r.IntN(7)), fmt.Sprintf("INSERT INTO log (what) VALUES ('after update %d')", number()))
			return "update"
		},
		func() string {
			j.do(fmt.Sprintf("INSERT INTO plain (text) VALUES ('plain %d'), ('%d')", number(), number()))
			return "myisam"
		},
		func() string {
			j.do(fmt.Sprintf("CALL twice(%d)", number()), "INSERT INTO log (what) VALUES ('called')")
			return "procedure"
		},
		func() string {
			j.do("BEGIN", fmt.Sprintf("DELETE FROM keep WHERE id %% 11 = %d", r.IntN(11)), "INSERT INTO log (what) VALUES ('deleted')", "COMMIT")
			return "delete"
		},
		func() string { return j.statements() },
		func() string { return j.create() },
		func() string { return j.alter() },
		func() string { return j.drop() },
		func() string { return j.load() },
		func() string { return j.xa() },
		func() string {
			j.do("FLUSH LOCAL TABLES", "FLUSH BINARY LOGS", "INSERT INTO log (what) VALUES ('rotated')")
			return "rotate"
		},
		func() string {
			j.do("SET SESSION time_zone = '+05:00', sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'", `INSERT INTO "log" (what, moment) VALUES ('zone' || ' five', '2026-01-02 03:04:05')`, "SET SESSION time_zone = DEFAULT, sql_mode = DEFAULT")
			return "zone and mode"
		},
		func() string {
			j.do(fmt.Sprintf("CREATE USER 'user%d'@'localhost' IDENTIFIED BY 'Tr0ub4dor'", len(j.Moments)))
			return "user"
		},
		func() string {
			j.do("BEGIN", "INSERT INTO log (what) VALUES ('never')", "ROLLBACK", "INSERT INTO log (what) VALUES ('after a rollback')")
			return "rollback"
		},
	}
}

// statements writes by statements, with what makes them the same on a replica only by what the log has beside them.
func (j *journal) statements() string {
	j.do("SET SESSION binlog_format = 'STATEMENT'", "SET @a = 'of a variable', @b = 17",
		"INSERT INTO log (what, moment) VALUES (CONCAT(@a, @b, '-', FLOOR(RAND() * 1000000), '-', LAST_INSERT_ID()), NOW(6))", "SET SESSION binlog_format = 'ROW'")
	return "statement"
}

func (j *journal) create() string {
	j.made++
	name := "t" + strconv.Itoa(j.made)
	if j.random.IntN(2) == 0 || j.build.Product == lab.MySQL && !j.build.AtLeast(8, 0) { // which has no CREATE .. SELECT with GTIDs
		j.do("CREATE TABLE " + name + " (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50))")
	} else {
		j.do("CREATE TABLE " + name + " (PRIMARY KEY (id)) SELECT id, text AS v FROM keep")
	}
	j.tables = append(j.tables, name)
	return "create"
}

// last is a table that may be altered or dropped; "" if there is none.
func (j *journal) last() string {
	if len(j.tables) <= 3 {
		return ""
	}
	return j.tables[len(j.tables)-1]
}

func (j *journal) alter() string {
	name := j.last()
	if name == "" {
		return j.create()
	}
	j.do(fmt.Sprintf("ALTER TABLE %s ADD COLUMN c%d INT DEFAULT %d", name, len(j.Moments), j.random.IntN(100)))
	return "alter"
}

func (j *journal) drop() string {
	name := j.last()
	if name == "" {
		return j.create()
	}
	switch j.random.IntN(3) {
	case 0:
		j.do("TRUNCATE TABLE " + name)
	case 1:
		j.do("RENAME TABLE " + name + " TO r_" + name)
		j.tables[len(j.tables)-1] = "r_" + name
	default:
		j.do("DROP TABLE " + name)
		j.tables = j.tables[:len(j.tables)-1]
	}
	return "drop, truncate or rename"
}

func (j *journal) load() string {
	var text strings.Builder
	for i := range 50 {
		fmt.Fprintf(&text, "%d\tloaded %d\n", i, j.random.IntN(1000))
	}
	mysql.RegisterReaderHandler("lines", func() io.Reader { return strings.NewReader(text.String()) })
	j.do("SET SESSION binlog_format = 'STATEMENT'", "LOAD DATA LOCAL INFILE 'Reader::lines' INTO TABLE keep (n, text)", "SET SESSION binlog_format = 'ROW'")
	return "load data"
}

func (j *journal) xa() string {
	id := fmt.Sprintf("'x%d'", len(j.Moments))
	end := "XA COMMIT "
	if j.random.IntN(4) == 0 {
		end = "XA ROLLBACK "
	}
	j.do("XA START "+id, "INSERT INTO log (what) VALUES ('by xa')", "XA END "+id, "XA PREPARE "+id, end+id)
	return strings.ToLower(end)
}

// large commits a transaction of many events.
func (j *journal) large() {
	j.do("BEGIN")
	for range 60 {
		j.do("INSERT INTO keep (n, text) SELECT n, REPEAT('l', 250) FROM (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) AS four, (SELECT 1 AS m UNION SELECT 2 UNION SELECT 3) AS three")
	}
	file, from := j.at()
	j.do("COMMIT")
	m := j.note("large")
	if m.file == file { // no rotation between
		m.inside = j.eventInside(file, from, m.offset)
	}
}

// eventInside finds an offset in the middle of a transaction at which an event ends.
func (j *journal) eventInside(file string, from, to int64) int64 {
	found := must(j.db.Query(fmt.Sprintf("SHOW BINLOG EVENTS IN '%s' FROM %d LIMIT 200", file, from)))(j.t)
	defer found.Close()
	var ends []int64
	columns := must(found.Columns())(j.t)
	for found.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		check(j.t, found.Scan(into...))
		end, _ := strconv.ParseInt(values[4].String, 10, 64)
		if end < to && end > from {
			ends = append(ends, end)
		}
	}
	if len(ends) < 3 {
		return 0
	}
	return ends[len(ends)/2]
}

// parallel commits from many sessions at once; only the state after them all is noted.
func (j *journal) parallel(sessions, each int) {
	j.do("CREATE TABLE IF NOT EXISTS busy (id INT AUTO_INCREMENT PRIMARY KEY, who INT, n INT, pad VARCHAR(200))")
	var all sync.WaitGroup
	for who := range sessions {
		all.Go(func() {
			for n := range each {
				_, err := j.db.ExecContext(j.t.Context(), "INSERT INTO truth.busy (who, n, pad) VALUES (?, ?, REPEAT('p', 150))", who, n)
				if err != nil {
					j.t.Error(err)
				}
			}
		})
	}
	all.Wait()
	j.do("INSERT INTO log (what) VALUES ('after the parallel ones')")
	j.note("parallel")
}

// pause makes a second in which nothing is committed, and notes a time in it.
func (j *journal) pause() {
	time.Sleep(1100 * time.Millisecond)
	last := &j.Moments[len(j.Moments)-1]
	last.time = time.Now().UTC().Truncate(time.Second) // the last commit was in an earlier second
	time.Sleep(time.Until(last.time.Add(time.Second + 20*time.Millisecond)))
}

// run makes the workload.
func (j *journal) run(commits int) {
	steps := j.steps()
	for i := range commits {
		j.note(steps[j.random.IntN(len(steps))]())
		switch {
		case i%20 == 17:
			j.pause()
		case i%(commits/2) == 7:
			j.large()
		case i == commits/3:
			j.parallel(8, 40)
		}
	}
}

var counter = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// fingerprint is everything that a server holds in the database truth, and its accounts.
func fingerprint(t testing.TB, db *sql.DB) string {
	t.Helper()
	ctx := context.Background()
	h := sha256.New()
	var lines []string
	for _, name := range column(t, db, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'truth' AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME") {
		var is, definition, sum sql.NullString
		check(t, db.QueryRowContext(ctx, "SHOW CREATE TABLE truth."+name).Scan(&is, &definition))
		check(t, db.QueryRowContext(ctx, "CHECKSUM TABLE truth."+name).Scan(&is, &sum))
		var n int
		check(t, db.QueryRowContext(ctx, "SELECT COUNT(*) FROM truth."+name).Scan(&n))
		fmt.Fprintf(h, "%s\n%s\n", counter.ReplaceAllString(definition.String, ""), sum.String)
		lines = append(lines, fmt.Sprintf("%s %d %s", name, n, sum.String))
	}
	users := column(t, db, "SELECT User FROM mysql.user WHERE User LIKE 'user%' ORDER BY User")
	return fmt.Sprintf("%x %d users: %s", h.Sum(nil)[:6], len(users), strings.Join(lines, ", "))
}

func column(t testing.TB, db *sql.DB, query string) (out []string) {
	t.Helper()
	found := must(db.Query(query))(t)
	defer found.Close()
	for found.Next() {
		var v string
		check(t, found.Scan(&v))
		out = append(out, v)
	}
	check(t, found.Err())
	return out
}
