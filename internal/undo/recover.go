package undo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Left is a run whose process did not end it: killed, crashed, rebooted, or stuck.
type Left struct {
	Run      string
	Instance string
	PID      int
	Open     []Deed
	path     string
}

// Leftovers lists the ledgers below dir, oldest first; instance "" means all. The caller must hold the instance's lock
// before it takes one back: only then is the run's process known to be dead.
func Leftovers(dir, instance string) ([]Left, error) {
	paths, err := ledgersIn(dir)
	if err != nil {
		return nil, err
	}
	var out []Left
	for _, path := range paths {
		head, receipts, err := readLedger(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // its run ended just now
		}
		if err != nil {
			return out, err
		}
		if instance != "" && head.Instance != instance && head.Run != "" {
			continue
		}
		left := Left{Run: head.Run, Instance: head.Instance, PID: head.PID, path: path}
		if left.Run == "" { // the header was torn: nothing was ever promised
			left.Run = strings.TrimSuffix(filepath.Base(path), ledgerSuffix)
		}
		for _, r := range receipts {
			if r.open {
				left.Open = append(left.Open, r.Deed)
			}
		}
		out = append(out, left)
	}
	return out, nil
}

// TakeBack undoes what the dead run left open, last first, and removes its ledger when nothing is left. Deeds marked
// UntilCommit are kept if committed(run) says that the catalogue has the run's point. It returns what it took back.
func (l Left) TakeBack(ctx context.Context, registry Registry, committed func(run string) bool, log *slog.Logger) ([]Deed, error) {
	_, receipts, err := readLedger(l.path)
	if err != nil {
		return nil, err
	}
	file, err := reopenLedger(l.path)
	if err != nil {
		return nil, err
	}
	run := &Run{ID: l.Run, Instance: l.Instance, ledger: file, registry: registry, log: log, receipts: receipts}
	var taken []Deed
	for _, r := range receipts {
		if !r.open {
			continue
		}
		if r.Deed.UntilCommit && committed(l.Run) {
			if err := run.Keep(r); err != nil {
				return nil, errors.Join(err, file.close())
			}
			continue
		}
		taken = append(taken, r.Deed)
		r.undo = func(ctx context.Context) error {
			undoer, ok := registry[r.Deed.Kind]
			if !ok {
				return fmt.Errorf("this holdstill does not know how to undo the kind %q", r.Deed.Kind)
			}
			return undoer(ctx, r.Deed)
		}
	}
	unwound := run.Unwind(ctx)
	return taken, errors.Join(unwound, run.End())
}

// Acknowledge forgets what could not be taken back: a person did it. It returns what is forgotten.
func (l Left) Acknowledge() error {
	if err := os.Remove(l.path); err != nil {
		return fmt.Errorf("cannot acknowledge the run %s: %w", l.Run, err)
	}
	return syncDir(filepath.Dir(l.path))
}
