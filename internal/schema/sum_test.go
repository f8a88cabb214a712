package schema_test

import (
	"database/sql"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/schema"
)

// changes each make another content of the table of types; the sum must see every one.
var changes = []string{
	"UPDATE types SET ti = 2 WHERE id = 0", "UPDATE types SET b64 = b'1' WHERE id = 1", "UPDATE types SET ts = '2026-11-22 13:00:00.654320' WHERE id = 1",
	"UPDATE types SET la = 'Mus' WHERE id = 1", "UPDATE types SET vb = X'00' WHERE id = 3", "UPDATE types SET vb = NULL WHERE id = 3",
	"UPDATE types SET tx = NULL WHERE id = 3", "UPDATE types SET vc = 'a#', la = '' WHERE id = 3", "UPDATE types SET vc = 'a', la = '#' WHERE id = 3",
	"UPDATE types SET j = '[1]' WHERE id = 3", "UPDATE types SET g = NULL WHERE id = 1", "UPDATE types SET fl = 16777216 WHERE id = 3", "UPDATE types SET fl = 16777218 WHERE id = 3", "UPDATE types SET e = NULL WHERE id = 1",
	"INSERT INTO types (p) VALUES (ST_GeomFromText('POINT(7 7)'))", "INSERT INTO types (p) VALUES (ST_GeomFromText('POINT(7 7)'))", "DELETE FROM types WHERE id = 2",
}

// sumSeesTheContentOnly on a server that has the zoo.
func sumSeesTheContentOnly(t *testing.T, s *lab.Server, db *sql.DB) {
	t.Helper()
	types := schema.Name{Database: "zoo", Table: "types"}
	sum := func(n schema.Name) schema.Sum {
		t.Helper()
		sum, err := schema.SumOf(t.Context(), db, n, false)
		must(t, err)
		return sum
	}
	first := sum(types)
	if first.Rows != 4 || len(first.Left) != 3 {
		t.Errorf("%+v", first)
	}
	must(t, s.Exec(t.Context(), "SET time_zone = '-05:00'", "USE zoo", "CREATE TABLE again LIKE types", "ALTER TABLE again DROP INDEX ft, ENGINE=MyISAM",
		"SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
		"INSERT INTO again (id, ti, bi, zf, de, fl, db, b1, b64, d, t, dt, ts, y, c, vc, la, bn, vb, tb, lb, tx, e, s, j, g, p) SELECT id, ti, bi, zf, de, fl, db, b1, b64, d, t, dt, ts, y, c, vc, la, bn, vb, tb, lb, tx, e, s, j, g, p FROM types ORDER BY id DESC"))
	if again := sum(schema.Name{Database: "zoo", Table: "again"}); again.All != first.All || again.Portable != first.Portable || again.Rounded != first.Rounded || first.Rounded == "" {
		t.Errorf("another engine and order: %+v, not %+v", again, first)
	}
	seen := map[string]string{first.All: "nothing"}
	for _, change := range changes {
		must(t, s.Exec(t.Context(), "USE zoo", change))
		got := sum(types).All
		if before, twice := seen[got]; twice {
			t.Errorf("%s: the same sum as after %s", change, before)
		}
		seen[got] = change
	}
}

// sumIsPortable: the same rows come to the same portable sum on all products and versions.
func sumIsPortable(t *testing.T, db *sql.DB, sums map[string]string) {
	t.Helper()
	for _, table := range []string{"types", "isam", "parts", "zeroes", "nothing", "child"} {
		sum, err := schema.SumOf(t.Context(), db, schema.Name{Database: "zoo", Table: table}, false)
		must(t, err)
		got := sum.Portable
		if got == "" {
			got = sum.All
		}
		if before, twice := sums[table]; twice && before != got {
			t.Errorf("%s: %s, not %s", table, got, before)
		}
		sums[table] = got
	}
}
