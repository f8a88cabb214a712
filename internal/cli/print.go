package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/fatih/color"
	"golang.org/x/term"

	"github.com/holdstill/holdstill/internal/config"
)

func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func heading(w io.Writer, text string) { fmt.Fprintln(w, color.New(color.Bold).Sprint(text)) }

// table aligns columns. Colour codes have no width on a terminal but do in tabwriter, so only equal ones may stand in a column.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)} }

func (t table) row(cells ...string) { fmt.Fprintln(t.w, "  "+strings.Join(cells, "\t")) }

func (t table) flush() { _ = t.w.Flush() }

// escaped are the control characters that texts have for a reason, written as the servers' clients write them.
var escaped = strings.NewReplacer("\n", `\n`, "\t", `\t`, "\r", `\r`)

// printable keeps what comes from a server from moving the cursor or forging lines.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, escaped.Replace(s))
}

func isTTY(fd int) bool { return term.IsTerminal(fd) }

func duration(d config.Duration) time.Duration { return time.Duration(d) }
