package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fatih/color"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/plan"
)

// errRecorded marks an error after which there is a point all the same: with --json that was printed, and its warnings say it all.
var errRecorded = errors.New("the point is recorded, but")

func recorded(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w %w", errRecorded, err)
}

// printScripted prints the facts of an application that scripts hold.
func printScripted(w io.Writer, q *inquiry) {
	heading(w, "Application "+q.instance.Name)
	t := newTable(w)
	for _, p := range q.facts.Scripts.Plugins {
		t.row("plugin", printable(p.Name+", "+p.Config))
		t.row("pre", fmt.Sprintf("%s, %d retries", printable(p.Pre), p.Retries[0]))
		t.row("post", fmt.Sprintf("%s, %d retries", printable(p.Post), p.Retries[1]))
		t.row("limits", fmt.Sprintf("%g s for each script, continueBackupOnFailure %t, fsFreezeEnabled %t", p.Timeout, p.Continue, p.Freeze))
	}
	t.flush()
}

func printLessened(w io.Writer, all []plan.Problem) {
	if len(all) == 0 {
		return
	}
	heading(w, "In the way of application consistency")
	for _, p := range all {
		fmt.Fprintf(w, "  %s %s\n      %s\n", color.RedString("x"), printable(p.What), printable(p.Remedy))
	}
}

func whose(p *catalog.Point) string {
	if p.Server.Product == database.Scripts {
		return fmt.Sprintf("%s on %s, held by scripts", p.Instance, p.Host)
	}
	return fmt.Sprintf("%s on %s, %s %s, server id %d", p.Instance, p.Host, p.Server.Product, p.Server.Version, p.Server.ServerID)
}

func scriptOutcome(s database.ScriptRun) string {
	text := fmt.Sprintf("%s (%s): %s, tries %d", s.Script, s.Plugin, millis(s.MS), s.Tries)
	if s.Code != 0 {
		text += fmt.Sprintf(", code %d", s.Code)
	}
	return text
}

// needsServer refuses to restore a point that has no server in it, and says where its files are.
func needsServer(p *catalog.Point) error {
	if p.Server.Product != database.Scripts {
		return nil
	}
	var cuts, paths []string
	for _, ref := range p.Snapshot.Refs {
		at := ref.Detail["path"]
		if at == "" {
			at = ref.Name
		}
		cuts = append(cuts, ref.Provider+" "+at)
	}
	for _, l := range p.Paths {
		paths = append(paths, l.Place.Path)
	}
	where := ""
	if len(cuts) > 0 {
		where = "; the snapshot: " + strings.Join(cuts, ", ")
	}
	return withHint{
		usagef("point %s is of the application %s, which is no server: there is nothing to start, and only you know where its files belong", p.ID, p.Instance),
		fmt.Sprintf("copy what you need of %s: holdstill mount %s DIR shows it%s", strings.Join(paths, ", "), p.ID, where),
	}
}
