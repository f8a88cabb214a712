package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/schema"
)

// TestLoadIntoTheOtherProduct takes tables of each product into the other one: what has a counterpart is translated and told, what has none
// is refused, and the rows are the same.
func TestLoadIntoTheOtherProduct(t *testing.T) {
	l := labtest.New(t)
	shops, others := map[string]*shop{}, map[string]*lab.Server{}
	for _, name := range labtest.Default {
		build := must(lab.Find(name))(t)
		shops[build.Product] = openIn(t, l, build, onBtrfs, build.Product, lab.Spec{})
		others[build.Product] = shops[build.Product].server
	}
	for product, s := range shops {
		other := others[lab.MariaDB]
		if product == lab.MariaDB {
			other = others[lab.MySQL]
		}
		s.configure("  other:\n    option_file: " + other.OptionFile + "\n")
		check(t, s.server.Exec(t.Context(), labtest.ZooStatements(s.server.Build)...))
	}
	for product, s := range shops {
		target := shops[lab.MySQL]
		refused, changed := []string{"history", "seqdef", "seq"}, "UUID becomes CHAR(36)"
		tables := []string{"types", "many", "isam", "aria", "parts", "packed", "mtypes", "zeroes"}
		if product == lab.MySQL {
			target = shops[lab.MariaDB]
			refused, changed = []string{"msql"}, "the collation utf8mb4_0900_ai_ci becomes"
			tables = []string{"types", "many", "isam", "parts", "packed", "zeroes"}
		}
		s.acrossProducts(target, product, tables, refused, changed)
	}
}

func (s *shop) acrossProducts(target *shop, product string, tables, refused []string, changed string) {
	t := s.t
	t.Helper()
	p := s.backup("shop")
	out := filepath.Join(s.lab.Dir(), product+"-dump")
	s.dump(p, out, "zoo")
	check(t, target.server.Exec(t.Context(), "CREATE DATABASE IF NOT EXISTS from_"+product))
	for _, table := range refused {
		if o := s.holdstill("restore", "--from-dump", out, "--into", "other", "--table", "zoo."+table, "--as", "from_"+product+"."+table); o.code == 0 || !strings.Contains(o.stderr, "has no ") && !strings.Contains(o.stderr, "does not have") {
			t.Errorf("%s: %d: %s", table, o.code, o.stderr)
		}
	}
	then := s.sums(labtest.Zoo)
	told := ""
	for _, table := range tables {
		r := s.load("--from-dump", out, "--into", "other", "--table", "zoo."+table, "--as", "from_"+product+"."+table)
		told += strings.Join(r.Tables[0].Changes, "\n") + "\n"
	}
	if !strings.Contains(told, changed) {
		t.Errorf("%q is not told: %s", changed, told)
	}
	got := target.sums("from_" + product)
	for _, table := range tables {
		want, is := then[schema.Name{Database: "zoo", Table: table}], got[schema.Name{Database: "from_" + product, Table: table}]
		if want.Rows != is.Rows || want.Rows == 0 || len(want.Left) == len(is.Left) && (want.Portable != is.Portable || want.Portable == "" && want.All != is.All) {
			t.Errorf("%s of %s: %+v, not %+v", table, product, is, want)
		}
	}
	if v := target.value("SELECT gv FROM from_" + product + ".types WHERE id = 1"); v != "-256" {
		t.Errorf("the generated column is %s", v)
	}
	s.holdstill("restore", p.ID, "--table", "zoo.types", "--into", "other", "--as", "from_"+product+".direct", "--scratch-dir", s.scratchDir()).want(t, 0)
	if v := target.value("SELECT COUNT(*) FROM from_" + product + ".direct"); v != "4" {
		t.Errorf("%s rows came straight from the point", v)
	}
}
