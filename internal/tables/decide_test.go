package tables_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
	"github.com/holdstill/holdstill/internal/tables"
)

// world is one in which the files of shop.orders can be taken over.
func world() *tables.World {
	orders := schema.Table{Database: "shop", Name: "orders", Kind: schema.Base, Engine: "InnoDB", DataBytes: 1 << 20}
	vars := map[string]string{"innodb_page_size": "16384", "innodb_file_per_table": "ON", "log_bin": "OFF"}
	return &tables.World{
		Point:     &schema.Server{Product: "mariadb", Version: "10.11.6-MariaDB", Databases: []schema.Database{{Name: "shop", Tables: []schema.Table{orders}}}},
		PointVars: maps.Clone(vars),
		Live: &swap.Site{Server: &schema.Server{Product: "mariadb", Version: "10.11.9-MariaDB", Databases: []schema.Database{{Name: "shop"}}},
			Vars: maps.Clone(vars), Instance: "live", Datadir: "/var/lib/mysql", Free: 1 << 40},
		Details: map[schema.Name]*tables.Detail{orders.FullName(): {Table: orders, Create: "CREATE TABLE `orders` (\n  `id` int\n) ENGINE=InnoDB"}},
	}
}

// TestTheWayOfATable changes one thing at a time: each decides, or refuses, with its reason.
func TestTheWayOfATable(t *testing.T) {
	name := schema.Name{Database: "shop", Table: "orders"}
	request := tables.Request{Tables: []schema.Name{name}}
	for _, c := range []struct {
		way    tables.Way // "" means that it is refused
		says   string
		change func(*tables.World, *tables.Detail, *tables.Request)
	}{
		{tables.Files, "", func(*tables.World, *tables.Detail, *tables.Request) {}},
		{tables.Load, "MySQL", func(w *tables.World, _ *tables.Detail, _ *tables.Request) {
			w.Live.Product, w.Live.Version = "MySQL", "9.7.0"
		}},
		{tables.Load, "version 10.11", func(w *tables.World, _ *tables.Detail, _ *tables.Request) { w.Live.Version = "11.8.2-MariaDB" }},
		{tables.Load, "not on this machine", func(w *tables.World, _ *tables.Detail, _ *tables.Request) { w.Live.Datadir = "" }},
		{tables.Load, "binary log", func(w *tables.World, _ *tables.Detail, _ *tables.Request) { w.Live.Vars["log_bin"] = "ON" }},
		{tables.Files, "", func(w *tables.World, _ *tables.Detail, r *tables.Request) {
			w.Live.Vars["log_bin"], r.LocalOnly = "ON", true
		}},
		{tables.Load, "page size", func(w *tables.World, _ *tables.Detail, _ *tables.Request) { w.Live.Vars["innodb_page_size"] = "4096" }},
		{tables.Load, "innodb_file_per_table", func(w *tables.World, _ *tables.Detail, _ *tables.Request) {
			w.Live.Vars["innodb_file_per_table"] = "OFF"
		}},
		{tables.Load, "RocksDB", func(_ *tables.World, d *tables.Detail, _ *tables.Request) { d.Table.Engine = "RocksDB" }},
		{tables.Load, "DATA DIRECTORY", func(_ *tables.World, d *tables.Detail, _ *tables.Request) { d.Create += " DATA DIRECTORY='/fast/'" }},
		{tables.Load, "partition größe", func(_ *tables.World, d *tables.Detail, _ *tables.Request) { d.Table.Partitions = []string{"größe"} }},
		{tables.Load, "asked for", func(_ *tables.World, _ *tables.Detail, r *tables.Request) { r.Way = tables.Load }},
		{tables.Made, "", func(_ *tables.World, d *tables.Detail, _ *tables.Request) { d.Table.Engine = "MEMORY" }},
		{"", "cannot be taken over", func(w *tables.World, _ *tables.Detail, r *tables.Request) { w.Live.Datadir, r.Way = "", tables.Files }},
		{"", "is a replica", func(w *tables.World, _ *tables.Detail, _ *tables.Request) { w.Live.Replica = true }},
		{"", "super_read_only", func(w *tables.World, _ *tables.Detail, _ *tables.Request) { w.Live.Vars["super_read_only"] = "ON" }},
		{"", "there are 512 KiB free", func(w *tables.World, _ *tables.Detail, _ *tables.Request) { w.Live.Free = 512 << 10 }},
		{"", "has no database shop", func(w *tables.World, _ *tables.Detail, _ *tables.Request) { w.Live.Databases = nil }},
		{"", "which stays", func(w *tables.World, _ *tables.Detail, _ *tables.Request) {
			w.Live.Databases[0].Tables = []schema.Table{w.Details[name].Table}
			w.Live.References = []schema.ForeignKey{{Name: "fk", From: schema.Name{Database: "shop", Table: "items"}, To: name}}
		}},
	} {
		w, r := world(), request
		c.change(w, w.Details[name], &r)
		plan, err := tables.Decide(r, w, true)
		switch {
		case c.way == "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%q: not refused, but %v", c.says, err)
		case c.way != "" && err != nil:
			t.Errorf("%q: refused: %v", c.says, err)
		case c.way != "" && (plan.Items[0].Way != c.way || !strings.Contains(plan.Items[0].Reason, c.says) || c.says == "" && plan.Items[0].Reason != ""):
			t.Errorf("%q: %s, since %q", c.says, plan.Items[0].Way, plan.Items[0].Reason)
		}
	}
}
