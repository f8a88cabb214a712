package schema_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/schema"
)

func TestWhatAServerHolds(t *testing.T) {
	sums := map[string]string{}
	labtest.WideMatrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		s, err := l.Server(t.Context(), b, lab.Spec{Name: "s", Options: []string{"character-set-server=latin1", "sync-binlog=0", "innodb-flush-log-at-trx-commit=0"}})
		must(t, err)
		must(t, s.Start(t.Context()))
		must(t, s.Exec(t.Context(),
			"CREATE DATABASE `my.shop ``x` CHARACTER SET utf8mb4", "USE `my.shop ``x`",
			"CREATE TABLE `order items` (id INT PRIMARY KEY, t TEXT, n INT GENERATED ALWAYS AS (id * 2) VIRTUAL, FULLTEXT f (t)) ENGINE=InnoDB ROW_FORMAT=COMPRESSED",
			"INSERT INTO `order items` (id, t) VALUES (1, 'a'), (2, 'b')",
			"CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT fk FOREIGN KEY (p) REFERENCES `order items` (id) ON DELETE CASCADE)",
			"CREATE TABLE parts (id INT) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 3",
			"CREATE TABLE old (id INT) ENGINE=MyISAM",
			"CREATE VIEW v AS SELECT id FROM `order items`",
			"CREATE PROCEDURE p() SELECT 1",
			"CREATE TRIGGER tr BEFORE INSERT ON old FOR EACH ROW SET NEW.id = 1",
			"CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DO SELECT 1",
			"CREATE USER reader@localhost"))
		if b.Product == lab.MariaDB {
			must(t, s.Exec(t.Context(), "USE `my.shop ``x`", "CREATE SEQUENCE seq", "CREATE TABLE kept (id INT) WITH SYSTEM VERSIONING", "CREATE ROLE boss"))
		}
		db, err := s.DB()
		must(t, err)
		defer db.Close()
		got, err := schema.Read(t.Context(), db)
		must(t, err)
		check(t, got, b)

		columns, err := schema.Columns(t.Context(), db, schema.Name{Database: "my.shop `x", Table: "order items"})
		must(t, err)
		if len(columns) != 3 || !columns[2].Generated || columns[2].Stored || columns[0].Generated || columns[0].Key != "PRI" {
			t.Errorf("columns: %+v", columns)
		}
		keys, err := schema.ForeignKeys(t.Context(), db)
		must(t, err)
		if len(keys) != 1 || keys[0].From.Table != "child" || keys[0].To.Table != "order items" || keys[0].OnDelete != "CASCADE" {
			t.Errorf("foreign keys: %+v", keys)
		}
		indexes, err := schema.Indexes(t.Context(), db, schema.Name{Database: "my.shop `x", Table: "order items"})
		must(t, err)
		if len(indexes) != 2 || indexes[0].Type != "FULLTEXT" || !indexes[1].Unique {
			t.Errorf("indexes: %+v", indexes)
		}

		must(t, s.Exec(t.Context(), labtest.ZooStatements(b)...))
		sumIsPortable(t, db, sums)
		sumSeesTheContentOnly(t, s, db)
	})
}

func check(t *testing.T, s *schema.Server, b lab.Build) {
	t.Helper()
	if s.Product != b.Product || len(s.Databases) != 1 {
		t.Fatalf("%+v", s)
	}
	d := s.Databases[0]
	kinds := map[string]schema.Kind{"order items": schema.Base, "child": schema.Base, "parts": schema.Base, "old": schema.Base, "v": schema.View}
	if b.Product == lab.MariaDB {
		kinds["seq"], kinds["kept"] = schema.Sequence, schema.Versioned
	}
	if len(d.Tables) != len(kinds) {
		t.Errorf("tables: %+v", d.Tables)
	}
	for name, kind := range kinds {
		if table := s.Table(schema.Name{Database: d.Name, Table: name}); table == nil || table.Kind != kind || table.Problem != "" {
			t.Errorf("%s: %+v", name, table)
		}
	}
	parts := s.Table(schema.Name{Database: d.Name, Table: "parts"})
	if !slices.Equal(parts.Partitions, []string{"p0", "p1", "p2"}) || !parts.Transactional() {
		t.Errorf("parts: %+v", parts)
	}
	if items := s.Table(schema.Name{Database: d.Name, Table: "order items"}); !items.Compressed || items.Rows != 2 || items.DataBytes == 0 {
		t.Errorf("order items: %+v", items)
	}
	if old := s.Table(schema.Name{Database: d.Name, Table: "old"}); old.Transactional() || old.Engine != "MyISAM" {
		t.Errorf("old: %+v", old)
	}
	if len(d.Routines) != 1 || len(d.Triggers) != 1 || len(d.Events) != 1 {
		t.Errorf("code: %+v", d)
	}
	role := func(a schema.Account) bool { return a.User == "boss" && a.Role }
	if !slices.Contains(s.Accounts, schema.Account{User: "reader", Host: "localhost"}) || slices.ContainsFunc(s.Accounts, role) != (b.Product == lab.MariaDB) {
		t.Errorf("accounts: %+v", s.Accounts)
	}
	choose(t, s, d.Name)
}

func choose(t *testing.T, s *schema.Server, db string) {
	t.Helper()
	chosen, err := s.Choose([]schema.Name{{Database: db, Table: "v"}, {Database: db, Table: "child"}, {Database: db, Table: "v"}})
	if err != nil || len(chosen) != 2 || chosen[0].Name != "child" {
		t.Errorf("chosen: %+v, %v", chosen, err)
	}
	all, err := s.Choose(nil)
	if err != nil || len(all) != len(s.Databases[0].Tables) {
		t.Errorf("all: %+v, %v", all, err)
	}
	var absent *schema.AbsentError
	_, err = s.Choose([]schema.Name{{Database: db, Table: "CHILD"}, {Database: "none"}, {Database: "mysql", Table: "user"}})
	if !errors.As(err, &absent) || len(absent.Names) != 3 {
		t.Errorf("absent: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
