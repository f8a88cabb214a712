package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/holdstill/holdstill/internal/compare"
)

// putBack is the file of statements; nothing if none is wanted.
type putBack struct {
	pending *renameio.PendingFile
	kinds   []string
	out     *diffed
}

func newPutBack(f *diffFlags, out *diffed) (*putBack, error) {
	if f.sql == "" {
		return &putBack{}, nil
	}
	pending, err := renameio.NewPendingFile(f.sql, renameio.WithPermissions(0o600))
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", f.sql, err)
	}
	b := &putBack{pending, f.putBack, out}
	_, err = fmt.Fprintf(pending, "-- Puts back rows of %s as they were at point %s%s (%s), in one transaction.\n-- Written by holdstill diff. Read it first.\n%s;\n",
		printable(out.With), out.Point, afterPoint(&f.until), strings.Join(f.putBack, ", "), strings.Join(compare.Head, ";\n"))
	return b, err
}

// afterPoint says which moment after the point it is.
func afterPoint(f *untilFlags) string {
	if !f.wanted() {
		return ""
	}
	target, err := f.target()
	if err != nil {
		return ""
	}
	return ", gone on to " + target.String()
}

func (b *putBack) add(t *compare.Table, d compare.Difference) error {
	if b.pending == nil || !slices.Contains(b.kinds, string(d.Kind)) {
		return nil
	}
	b.out.Statements++
	_, err := io.WriteString(b.pending, t.PutBack(d)+";\n")
	return err
}

func (b *putBack) finish() error {
	if b.pending == nil {
		return nil
	}
	if _, err := io.WriteString(b.pending, strings.Join(compare.Foot, ";\n")+";\n"); err != nil {
		return err
	}
	return b.pending.CloseAtomicallyReplace()
}

func (b *putBack) drop() {
	if b.pending != nil {
		_ = b.pending.Cleanup()
	}
}
