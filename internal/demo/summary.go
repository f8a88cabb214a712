package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
)

// act is what the summary tells of.
type act struct {
	what  string         // of what has no point
	point *catalog.Point // nil for a replica
	took  time.Duration
}

// takePoint makes a restore point and remembers it.
func (d *demo) takePoint(ctx context.Context, name, mode string) error {
	took, err := d.run(ctx, name, fmt.Sprintf("holdstill backup %s --mode %s", name, mode))
	if err != nil {
		return err
	}
	out, err := d.ask(ctx, name, "holdstill --json points list")
	if err != nil {
		return err
	}
	var points []*catalog.Point
	if err := json.Unmarshal(out, &points); err != nil {
		return fmt.Errorf("holdstill --json points list: %w", err)
	}
	var newest *catalog.Point
	for _, p := range points {
		if p.Instance == name && (newest == nil || p.TakenAt.After(newest.TakenAt)) {
			newest = p
		}
	}
	if newest == nil {
		return fmt.Errorf("the backup of %s left no restore point in the list", name)
	}
	if newest.Consistency != catalog.Application {
		return fmt.Errorf("the restore point of %s is not application-consistent but %s: %s", name, newest.Consistency, newest.ConsistencyReason)
	}
	d.done = append(d.done, act{point: newest, took: took})
	return nil
}

func (d *demo) summarise(context.Context) error {
	d.title("Summary")
	table := [][]string{{"point of", "id", "mode", "consistency", "cut by", "commits stalled", "size", "took"}}
	for _, a := range d.done {
		p := a.point
		if p == nil {
			continue
		}
		stall := milliseconds(p.Window.StallMS)
		if p.Mode == database.Cold {
			stall = "(stopped " + seconds(time.Duration(p.Window.StallMS*float64(time.Millisecond))) + ")"
		}
		table = append(table, []string{p.Instance, p.ID, string(p.Mode), string(p.Consistency), p.Snapshot.Provider, stall,
			humanize.IBytes(uint64(max(p.SizeBytes, 0))), seconds(a.took)})
	}
	for i, l := range align(table) {
		if i == 0 {
			l = d.heading.Sprint(l)
		}
		d.line("   " + l)
	}
	for _, a := range d.done {
		if a.point == nil {
			d.say("%s took %s.", a.what, seconds(a.took))
		}
	}
	seen := d.writer.total()
	d.say("The writer committed %d rows meanwhile, the slowest in %s.", seen.commits, milliseconds(inMS(seen.worst)))
	return nil
}

// align pads the cells of a table to columns.
func align(table [][]string) []string {
	widths := make([]int, len(table[0]))
	for _, row := range table {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out []string
	for _, row := range table {
		line := ""
		for i, cell := range row {
			line += fmt.Sprintf("%-*s", widths[i]+2, cell)
		}
		out = append(out, line)
	}
	return out
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func milliseconds(ms float64) string {
	if ms < 10 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func inMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
