package compare_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/holdstill/holdstill/internal/compare"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/schema"
)

// kinds are tables with every kind of key and value; each gets rows from its INSERT, %d is a number.
var kinds = map[string][2]string{
	"numbers": {"id BIGINT UNSIGNED PRIMARY KEY, d DECIMAL(30,10), f DOUBLE, s FLOAT, b BIT(13), y YEAR, g INT GENERATED ALWAYS AS (y + 1) VIRTUAL",
		"(id, d, f, s, b, y) VALUES (%[1]d * 3, %[1]d / 7, %[1]d / 3, 16777216 - %[1]d, %[1]d, 2000 + %[1]d %% 50)"},
	"texts": {"code VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_german2_ci, part CHAR(10) NOT NULL, t TEXT, j JSON, e ENUM('a','ü') NOT NULL, PRIMARY KEY (code, part)",
		"(code, part, t, j, e) VALUES (CONCAT('Ä\\'\\\\', %[1]d %% 17), CONCAT('p', %[1]d), CONCAT('line\\n日本', %[1]d), JSON_OBJECT('k', %[1]d), 'ü')"},
	"binaries": {"id BINARY(4) PRIMARY KEY, v VARBINARY(20), b LONGBLOB, p POINT NOT NULL",
		"(id, v, b, p) VALUES (UNHEX(LPAD(HEX(%[1]d * 65537), 8, '0')), UNHEX('00ff27'), IF(%[1]d %% 2, NULL, UNHEX('0a00ff')), ST_GeomFromText('POINT(1 2)', 0))"},
	"times": {"at TIMESTAMP(6) NOT NULL DEFAULT '2020-01-01', n INT NOT NULL, d DATE, t TIME(3), dt DATETIME(6), UNIQUE KEY (n, at)",
		"(at, n, d, t, dt) VALUES ('2026-10-25 02:30:00.123456' + INTERVAL %[1]d HOUR, %[1]d %% 5, '2026-02-03', '-12:00:00.5', '1999-12-31 23:59:59.999999')"},
}

// TestPutsBack changes rows at random, compares, runs the statements that are to put them back, and wants no difference any more.
func TestPutsBack(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s, err := labtest.New(t).Server(t.Context(), build, lab.Spec{Name: "s"})
		must(t, err)
		must(t, s.Start(t.Context()))
		must(t, s.Exec(t.Context(), "CREATE DATABASE was CHARACTER SET utf8mb4", "CREATE DATABASE `is`"))
		db, err := s.DB()
		must(t, err)
		defer db.Close()
		random := rand.New(rand.NewPCG(7, 7))
		for name, kind := range kinds {
			t.Run(name, func(t *testing.T) {
				must(t, s.Exec(t.Context(), fmt.Sprintf("CREATE TABLE was.%s (%s)", name, kind[0])))
				fill(t, db, name, kind[1], 3000)
				must(t, s.Exec(t.Context(), fmt.Sprintf("CREATE TABLE `is`.%[1]s LIKE was.%[1]s", name)))
				if differs := differences(t, db, name); len(differs) != 3000 {
					t.Errorf("against an empty table %d rows differ", len(differs))
				}
				apply(t, db, name)
				spoil(t, db, name, random)
				found := map[compare.Kind]int{}
				for _, d := range differences(t, db, name) {
					found[d.Kind]++
				}
				if found[compare.Missing] < 100 || found[compare.Added] < 100 || found[compare.Changed] < 100 {
					t.Errorf("found %v", found)
				}
				apply(t, db, name)
				must(t, s.Exec(t.Context(), fmt.Sprintf("ALTER TABLE `is`.%s ADD COLUMN later INT, DROP COLUMN %s", name, last[name])))
				table, err := tables(t, db, name, func(*compare.Table, compare.Difference) error { return errors.New("it differs") })
				if err != nil || len(table.OnlyAfter) != 1 || len(table.OnlyBefore) != 1 {
					t.Errorf("with other columns: %+v, %v", table, err)
				}
			})
		}
		// more bytes than a piece has, on either side, and not at the same rows
		must(t, s.Exec(t.Context(), "CREATE TABLE was.wide (id INT PRIMARY KEY, b LONGBLOB)", "INSERT INTO was.wide SELECT id, REPEAT('x', 1 << 20) FROM was.numbers ORDER BY id LIMIT 50",
			"CREATE TABLE `is`.wide AS SELECT * FROM was.wide", "ALTER TABLE `is`.wide ADD PRIMARY KEY (id)", "UPDATE was.wide SET b = id ORDER BY id LIMIT 15",
			"DELETE FROM `is`.wide ORDER BY id DESC LIMIT 5", "DELETE FROM was.wide ORDER BY id LIMIT 5"))
		if differs := differences(t, db, "wide"); len(differs) != 5+10+5 {
			t.Errorf("of the wide table %d rows differ", len(differs))
		}
		must(t, s.Exec(t.Context(), "CREATE TABLE was.heap (a INT, KEY (a))", "CREATE TABLE `is`.heap LIKE was.heap"))
		if _, err := tables(t, db, "heap", nil); !errors.Is(err, compare.ErrNoKey) {
			t.Errorf("without a key: %v", err)
		}
		must(t, s.Exec(t.Context(), "CREATE TABLE was.listed (e ENUM('new','done') PRIMARY KEY)", "CREATE TABLE `is`.listed LIKE was.listed",
			"CREATE TABLE was.ordered (k VARCHAR(10) COLLATE utf8mb4_bin PRIMARY KEY)", "CREATE TABLE `is`.ordered (k VARCHAR(10) COLLATE utf8mb4_general_ci PRIMARY KEY)"))
		for _, name := range []string{"listed", "ordered"} {
			if _, err := tables(t, db, name, nil); !errors.Is(err, compare.ErrNoKey) {
				t.Errorf("%s, whose key has no one order: %v", name, err)
			}
		}
		if _, err := tables(t, db, "gone", nil); err == nil {
			t.Error("a table that is none is compared")
		}
	})
}

// last is a column of each table that no row needs.
var last = map[string]string{"numbers": "d", "texts": "t", "binaries": "v", "times": "d"}

func fill(t *testing.T, db *sql.DB, name, values string, n int) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	for i := range n {
		_, err := tx.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO was."+name+" "+values, i))
		must(t, err)
	}
	must(t, tx.Commit())
}

// spoil removes rows on both sides, so that some are missing and some added, and changes others.
func spoil(t *testing.T, db *sql.DB, name string, random *rand.Rand) {
	t.Helper()
	change := map[string]string{"numbers": "d = d + 1, b = 0", "texts": "t = 'x', j = NULL", "binaries": "b = UNHEX('00'), v = ''", "times": "dt = NULL"}[name]
	for _, statement := range []string{
		"DELETE FROM `is`." + name + " ORDER BY RAND(%d) LIMIT 300",
		"DELETE FROM was." + name + " ORDER BY RAND(%d) LIMIT 400",
		"UPDATE `is`." + name + " SET " + change + " ORDER BY RAND(%d) LIMIT 500",
	} {
		_, err := db.ExecContext(t.Context(), fmt.Sprintf(statement, random.IntN(1000)))
		must(t, err)
	}
	if name == "texts" { // one key to the server, and other bytes
		_, err := db.ExecContext(t.Context(), "UPDATE `is`.texts SET part = UPPER(part) LIMIT 10")
		must(t, err)
	}
}

func tables(t *testing.T, db *sql.DB, name string, each func(*compare.Table, compare.Difference) error) (*compare.Table, error) {
	t.Helper()
	var sides [2]compare.Side
	for i, database := range []string{"was", "is"} {
		conn, err := db.Conn(t.Context())
		must(t, err)
		defer func() {
			_, _ = conn.ExecContext(context.WithoutCancel(t.Context()), "ROLLBACK")
			_ = conn.Close()
		}()
		sides[i] = compare.Side{Conn: conn, Name: schema.Name{Database: database, Table: name}}
	}
	return compare.Tables(t.Context(), sides[0], sides[1], each)
}

func differences(t *testing.T, db *sql.DB, name string) (out []compare.Difference) {
	t.Helper()
	_, err := tables(t, db, name, func(_ *compare.Table, d compare.Difference) error {
		out = append(out, d)
		return nil
	})
	must(t, err)
	return out
}

// apply runs what puts back, and compares again.
func apply(t *testing.T, db *sql.DB, name string) {
	t.Helper()
	statements := append([]string{}, compare.Head...)
	_, err := tables(t, db, name, func(table *compare.Table, d compare.Difference) error {
		statements = append(statements, table.PutBack(d))
		return nil
	})
	must(t, err)
	conn, err := db.Conn(t.Context())
	must(t, err)
	defer conn.Close()
	for _, statement := range append(statements, compare.Foot...) {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if left := differences(t, db, name); len(left) > 0 {
		t.Fatalf("%d rows still differ: %s", len(left), left[0].Kind)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
