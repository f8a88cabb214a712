package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/load"
	"github.com/holdstill/holdstill/internal/schema"
)

// TestWhoseLatest has points of two instances, the newest of which is not the one whose tables are wanted.
func TestWhoseLatest(t *testing.T) {
	state := t.TempDir()
	var log bytes.Buffer
	a := &app{dirs: config.Dirs{State: state, Run: t.TempDir()}, log: slog.New(slog.NewTextHandler(&log, nil))}
	dumped := func(point, directory string, tables ...string) (out []catalog.Dump) {
		for _, table := range tables {
			file := filepath.Join(state, point, directory, table+".sql")
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			out = append(out, catalog.Dump{Database: "shop", Table: table, File: file})
		}
		return out
	}
	for i, instance := range []string{"shop", "blog"} {
		p := &catalog.Point{ID: fmt.Sprintf("20261122-1300%02d-abcdef", i), Instance: instance, Status: catalog.Recorded, TakenAt: time.Unix(int64(i), 0).UTC()}
		p.Dumps = append(dumped(p.ID, "all", "orders", "items"), dumped(p.ID, "one", "orders")...)
		if err := a.catalogue().Put(p); err != nil {
			t.Fatal(err)
		}
	}
	orders, items := schema.Name{Database: "shop", Table: "orders"}, schema.Name{Database: "shop", Table: "items"}
	for _, c := range []struct {
		name, instance, into string
		request              load.Request
		want                 string // the directory, or what the error says
	}{
		{"latest", "", "", load.Request{Tables: []schema.Name{orders}}, "blog, shop have restore points: say --instance"},
		{"latest~1", "", "", load.Request{Tables: []schema.Name{orders}}, "say --instance"},
		{"latest", "", "shop", load.Request{Tables: []schema.Name{orders}}, "20261122-130000-abcdef/one"},
		{"latest", "", "shop", load.Request{Tables: []schema.Name{orders, items}}, "20261122-130000-abcdef/all"},
		{"latest", "", "shop", load.Request{Database: "shop"}, "20261122-130000-abcdef/all"},
		{"latest", "blog", "shop", load.Request{Tables: []schema.Name{items}}, "20261122-130001-abcdef/all"},
		{"latest", "", "wiki", load.Request{Tables: []schema.Name{items}}, "wiki: no restore point"},
		{"20261122-130001", "", "shop", load.Request{Tables: []schema.Name{items}}, "20261122-130001-abcdef/all"},
	} {
		dir, _, err := a.dumpAt(c.name, c.instance, &tableFlags{into: c.into}, c.request)
		if got := fmt.Sprint(dir, err); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s", c, got)
		}
	}
	p, err := a.catalogue().Find("latest", "")
	if err != nil {
		t.Fatal(err)
	}
	if a.sayWhose("latest", p); !strings.Contains(log.String(), "latest of all instances is 20261122-130001-abcdef, of blog on") {
		t.Errorf("the log says %s", &log)
	}
	if of, err := a.whose("20261122", "", ""); of != "" || err != nil {
		t.Errorf("a point that is named is looked for in %q: %v", of, err)
	}
}
