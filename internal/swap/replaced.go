package swap

import (
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/durable"
)

// replaced are the old views, routines and events that are others than the new ones.
func replaced(code []Code) (out []Code) {
	for _, c := range code {
		if c.differs() {
			out = append(out, *c.Old)
		}
	}
	return out
}

// keepReplaced writes the old code to a file for the server's client. It may be written again.
func keepReplaced(file string, code []Code) error {
	old := replaced(code)
	if file == "" || len(old) == 0 {
		return nil
	}
	dir := filepath.Dir(file)
	if err := durable.MakeDir(dir); err != nil {
		return err
	}
	if err := renameio.WriteFile(file, []byte(script(old)), 0o600, renameio.WithTempDir(dir)); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// script is what brings code back, for the server's client: it sends a statement when it meets the delimiter, which no body may hold.
func script(code []Code) string {
	delimiter := "$$"
	for _, c := range code {
		for strings.Contains(c.Create, delimiter) {
			delimiter += "$"
		}
	}
	var b strings.Builder
	b.WriteString("-- Views, routines and events that holdstill restore has replaced. This brings them back.\nSET NAMES utf8mb4;\nDELIMITER " + delimiter + "\n")
	for _, c := range code {
		b.WriteString("\n-- " + strings.Join(strings.Fields(c.Title), " ") + "\n")
		for _, statement := range append(c.settings(), c.statements()...) {
			b.WriteString(statement + "\n" + delimiter + "\n")
		}
	}
	b.WriteString("DELIMITER ;\n")
	return b.String()
}
