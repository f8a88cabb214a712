package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/schema"
)

// tablesOf tells what a point holds, from the cut itself: a scratch server is asked once, and what it said is kept, as a point never changes.
// It has no accounts in it.
func (a *app) tablesOf(ctx context.Context, s *stock, f *scratchFlags, p *catalog.Point) (*schema.Server, error) {
	path := filepath.Join(a.dirs.Tables(), p.ID+".json")
	if raw, err := os.ReadFile(path); err == nil {
		known := &schema.Server{}
		if json.Unmarshal(raw, known) == nil {
			return known, nil
		}
	}
	var found *schema.Server
	err := a.scratchOf(ctx, s, f, p, func(ctx context.Context, server *restore.Scratch) (err error) {
		found, err = schema.Read(ctx, server.DB)
		return err
	})
	if err != nil {
		return nil, err
	}
	found.Accounts = nil
	if err := a.keepTables(path, found); err != nil {
		a.log.Warn("the list of tables could not be kept, so the next question starts a server again: " + err.Error())
	}
	return found, nil
}

func (a *app) keepTables(path string, found *schema.Server) error {
	raw, err := json.Marshal(found)
	if err == nil {
		err = durable.MakeDir(filepath.Dir(path))
	}
	if err == nil {
		err = renameio.WriteFile(path, raw, 0o600)
	}
	return errors.Join(err, a.sweepTables())
}

// sweepTables removes the lists of points that are gone.
func (a *app) sweepTables() error {
	lists, err := filepath.Glob(filepath.Join(a.dirs.Tables(), "*.json"))
	if err != nil {
		return err
	}
	var faults []error
	for _, list := range lists {
		id := strings.TrimSuffix(filepath.Base(list), ".json")
		if _, err := a.catalogue().Find(id, ""); errors.Is(err, catalog.ErrNotFound) {
			faults = append(faults, os.Remove(list))
		}
	}
	return errors.Join(faults...)
}

// printTables lists tables, the largest databases being no reason to hide the small ones.
func (a *app) printTables(found *schema.Server) {
	t := newTable(a.stdout)
	t.row("TABLE", "KIND", "ENGINE", "ROWS (ESTIMATE)", "DATA", "INDEXES")
	tables, bytes := 0, int64(0)
	for _, d := range found.Databases {
		for _, one := range d.Tables {
			tables, bytes = tables+1, bytes+one.Bytes()
			rows, data, indexes := "-", "-", "-"
			if one.HasRows() {
				rows, data, indexes = humanize.Comma(one.Rows), humanize.IBytes(uint64(one.DataBytes)), humanize.IBytes(uint64(one.IndexBytes))
			}
			kind := string(one.Kind)
			if one.Problem != "" {
				kind += ", broken: " + one.Problem
			}
			t.row(printable(one.FullName().String()), printable(kind), one.Engine, rows, data, indexes)
		}
	}
	t.flush()
	fmt.Fprintf(a.stdout, "%s in %s, %s\n", counted(tables, "table"), counted(len(found.Databases), "database"), humanize.IBytes(uint64(bytes)))
}
